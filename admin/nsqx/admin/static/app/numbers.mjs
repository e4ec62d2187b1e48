/**
 * The numbers that rows of topics, channels and nodes have, by their names there, and what is above
 * the columns of their growth a second. Generated from the table of numbers by `make deploy-files`;
 * not to be changed here.
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

export const NODE_NUMBERS = {
  draining: {"title": "Draining", "unit": "", "help": "1 while the node is being emptied: it takes no messages.", "optional": false},
  topics: {"title": "Topics", "unit": "", "help": "Topics.", "optional": false},
  channels: {"title": "Channels", "unit": "", "help": "Channels.", "optional": false},
  depth: {"title": "Depth", "unit": "messages", "help": "Messages that wait at a node: at its topics and in its channels.", "optional": false},
  in_flight: {"title": "In flight", "unit": "messages", "help": "Messages that a node has delivered and that are unanswered.", "optional": false},
  messages: {"title": "Messages", "unit": "messages", "help": "Messages published to a node.", "optional": false},
  clients: {"title": "Consumers", "unit": "clients", "help": "Clients that are subscribed at a node, once for each channel.", "optional": false},
  loop_lag: {"title": "Loop lag", "unit": "seconds", "help": "How late a node's event loop is, on average since it started.", "optional": false},
  disk_free: {"title": "Disk free", "unit": "bytes", "help": "Room on the disk of the data path.", "optional": false},
  damages: {"title": "Damaged places", "unit": "", "help": "Places where the log was found damaged.", "optional": true},
  lost_messages: {"title": "Lost messages", "unit": "messages", "help": "Messages lost to damage of the log.", "optional": true},
  unexpected_errors: {"title": "Faults", "unit": "", "help": "Faults of nsqd itself; each is in its log.", "optional": true},
  rss: {"title": "Memory", "unit": "bytes", "help": "Resident memory.", "optional": false},
  open_fds: {"title": "Open files", "unit": "files", "help": "Open files, connections among them.", "optional": false},
  fds_max: {"title": "Files that may be open", "unit": "files", "help": "Most files that may be open.", "optional": false},
  dropped_lines: {"title": "Lost lines of its log", "unit": "", "help": "Lines that nobody read in time.", "optional": true},
  crashed_tasks: {"title": "Crashed tasks", "unit": "", "help": "Background tasks that ended by an error.", "optional": true},
};

export const RATE_TITLES = {
  in: "In",
  refusals: "Refusals",
  requeues: "Requeues",
  timeouts: "Timeouts",
};
