"""What the dashboard shows: documents, pages, messages, and who watches them."""
