/**
 * The numbers that rows of topics and channels have, by their names there. Generated from the table
 * of numbers by `make deploy-files`; not to be changed here.
 */
export const TOPIC_NUMBERS = {
  depth: {"title": "Depth", "unit": "messages", "help": "Messages that wait at a topic.", "optional": false},
  messages: {"title": "Messages", "unit": "messages", "help": "Messages published.", "optional": false},
  message_bytes: {"title": "Published", "unit": "bytes", "help": "Bytes of the bodies published.", "optional": false},
  refused: {"title": "Refused", "unit": "messages", "help": "Messages that were published and refused.", "optional": true},
  paused: {"title": "Paused", "unit": "", "help": "1 while paused.", "optional": false},
};

export const CHANNEL_NUMBERS = {
  depth: {"title": "Depth", "unit": "messages", "help": "Messages that wait in a channel.", "optional": false},
  backend_depth: {"title": "On disk", "unit": "messages", "help": "Those of them that are on disk only.", "optional": false},
  in_flight: {"title": "In flight", "unit": "messages", "help": "Messages that were delivered and are unanswered.", "optional": false},
  deferred: {"title": "Deferred", "unit": "messages", "help": "Messages that wait for their time.", "optional": false},
  messages: {"title": "Messages", "unit": "messages", "help": "Messages that came to a channel.", "optional": false},
  requeued: {"title": "Requeued", "unit": "messages", "help": "Messages given back by a client (REQ).", "optional": false},
  timed_out: {"title": "Timed out", "unit": "messages", "help": "Deliveries that were not answered in time.", "optional": false},
  clients: {"title": "Consumers", "unit": "clients", "help": "Clients that are subscribed.", "optional": false},
  paused: {"title": "Paused", "unit": "", "help": "1 while paused.", "optional": false},
};
