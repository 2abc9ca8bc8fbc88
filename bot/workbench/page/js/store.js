/**
 * All that this page knows of the workspace, as seen by one person. It is filled from /ui/state and the message
 * lists, kept current by the event stream, and tells the parts of the page what changed.
 *
 * Topics: `ready` (another person or first load), `channels`, `messages` {channel}, `thread` {channel, ts},
 * `views`, `panel`, `connection`, `toast` {text, level}.
 */

import { get } from "./api.js";
import { Emitter } from "./emitter.js";

const ABOUT_MESSAGES = new Set(["message", "ephemeral", "message_changed", "message_deleted", "reaction"]);

const ABOUT_THE_WORKSPACE = new Set(["channel", "view", "view_closed"]);

const byTs = (a, b) => Number(a.ts) - Number(b.ts);

export class Store extends Emitter {
  #recorders = new Set();

  constructor() {
    super();
    this.connected = true;
    this.panel = null;
    this.#clear();
  }

  #clear() {
    this.me = null;
    this.team = { name: "" };
    this.bot = {};
    this.users = new Map();
    this.usergroups = new Map();
    this.channels = new Map();
    this.commands = [];
    this.views = [];
    this.messages = new Map(); // channel id -> Message[], oldest first
    this.threads = new Map(); // "channel:ts" -> Message[], the parent first
  }

  /** Loads the workspace as `user` (or, left out, its first person) sees it, and again all that was loaded before. */
  async load(user) {
    await this.#whileHearing(ABOUT_THE_WORKSPACE, () => get("/ui/state", { user }), (state) => this.#keep(state));
    await Promise.all([...this.messages.keys()].map((id) => this.loadMessages(id)));
    await Promise.all([...this.threads.keys()].map((key) => this.loadThread(...key.split(":"))));
  }

  #keep(state) {
    const other = state.me.id !== this.me;
    if (other) this.#clear();
    this.me = state.me.id;
    this.team = state.team;
    this.bot = state.bot ?? {};
    this.users = new Map(state.users.map((entry) => [entry.id, entry]));
    this.usergroups = new Map(state.usergroups.map((entry) => [entry.id, entry]));
    this.channels = new Map(state.channels.map((entry) => [entry.id, entry]));
    this.commands = state.commands;
    this.views = state.views ?? [];
    if (other) this.emit("ready");
    this.emit("channels");
    this.emit("views");
  }

  loadMessages(channel) {
    return this.#loadList(channel, {}, (messages) => {
      this.messages.set(channel, messages);
      this.emit("messages", { channel });
    });
  }

  loadThread(channel, ts) {
    return this.#loadList(channel, { thread_ts: ts }, (messages) => {
      this.threads.set(`${channel}:${ts}`, messages);
      this.emit("thread", { channel, ts });
    });
  }

  #loadList(channel, params, keep) {
    const me = this.me;
    const asked = { user: me, ...params };
    return this.#whileHearing(
      ABOUT_MESSAGES,
      () => get(`/ui/channels/${encodeURIComponent(channel)}/messages`, asked),
      ({ messages }) => {
        if (me === this.me) keep(messages.sort(byTs));
      },
    );
  }

  /** What the stream tells a person while an answer is on its way may be missing in it, and is taken in once more. */
  async #whileHearing(types, ask, keep) {
    const me = this.me;
    const recorder = { types, events: [] };
    this.#recorders.add(recorder);
    try {
      keep(await ask());
    } finally {
      this.#recorders.delete(recorder);
    }
    if (me === this.me) for (const event of recorder.events) this.#handle(event);
  }

  closeThread(channel, ts) {
    this.threads.delete(`${channel}:${ts}`);
  }

  async loadPanel() {
    this.panel = await get("/ui/panel");
    this.emit("panel");
  }

  message(channel, ts) {
    return this.messages.get(channel)?.find((entry) => entry.ts === ts);
  }

  /** Takes in one event of the stream. Every event may come twice, or after its effect was already loaded. */
  take(event) {
    for (const recorder of this.#recorders) if (recorder.types.has(event.type)) recorder.events.push(event);
    this.#handle(event);
  }

  #handle(event) {
    HANDLERS[event.type]?.(this, event);
  }
}

function put(list, message) {
  const at = list.findIndex((entry) => entry.ts === message.ts);
  if (at >= 0) list[at] = message;
  else list.push(message);
  list.sort(byTs);
}

const isReply = (message) => Boolean(message.thread_ts) && message.thread_ts !== message.ts;

function arrived(store, { channel, message }) {
  if (isReply(message)) {
    const parent = store.message(channel, message.thread_ts);
    // The server may have sent the parent with its new count already.
    if (parent && !message.ephemeral && Number(message.ts) > Number(parent.latest_reply ?? 0)) {
      const people = parent.reply_users ?? [];
      const author = message.user ?? message.bot_id;
      put(store.messages.get(channel), {
        ...parent, reply_count: (parent.reply_count ?? 0) + 1, latest_reply: message.ts,
        reply_users: people.includes(author) ? people : [...people, author],
      });
      store.emit("messages", { channel });
    }
    inThread(store, channel, message.thread_ts, (list) => put(list, message));
    if (message.subtype !== "thread_broadcast") return;
  }
  const list = store.messages.get(channel);
  if (!list) return;
  put(list, message);
  store.emit("messages", { channel });
}

function inThread(store, channel, ts, change) {
  const list = store.threads.get(`${channel}:${ts}`);
  if (!list) return;
  change(list);
  store.emit("thread", { channel, ts });
}

/** Applies `change(message)` wherever the message is shown. */
function everywhere(store, channel, ts, change) {
  const list = store.messages.get(channel);
  const at = list?.findIndex((entry) => entry.ts === ts) ?? -1;
  if (at >= 0) {
    list[at] = change(list[at]);
    store.emit("messages", { channel });
  }
  for (const [key, replies] of store.threads) {
    const found = replies.findIndex((entry) => entry.ts === ts);
    if (found < 0 || !key.startsWith(`${channel}:`)) continue;
    replies[found] = change(replies[found]);
    store.emit("thread", { channel, ts: key.slice(channel.length + 1) });
  }
}

const HANDLERS = {
  message: arrived,
  ephemeral: (store, { channel, message }) => arrived(store, { channel, message: { ...message, ephemeral: true } }),
  message_changed: (store, { channel, message }) => everywhere(store, channel, message.ts, () => message),
  reaction: (store, { channel, ts, reactions }) => everywhere(store, channel, ts, (message) => ({ ...message, reactions })),
  message_deleted(store, { channel, ts }) {
    const without = (list) => list.filter((entry) => entry.ts !== ts);
    if (store.messages.has(channel)) {
      store.messages.set(channel, without(store.messages.get(channel)));
      store.emit("messages", { channel });
    }
    for (const [key, replies] of store.threads) {
      if (!key.startsWith(`${channel}:`) || !replies.some((entry) => entry.ts === ts)) continue;
      store.threads.set(key, without(replies));
      store.emit("thread", { channel, ts: key.slice(channel.length + 1) });
    }
  },
  channel(store, { channel }) {
    store.channels.set(channel.id, { ...store.channels.get(channel.id), ...channel });
    store.emit("channels");
  },
  view(store, { view }) {
    const at = store.views.findIndex((entry) => entry.id === view.id);
    if (at >= 0) store.views[at] = view;
    else store.views.push(view);
    store.emit("views");
  },
  view_closed(store, { view_id: id }) {
    store.views = store.views.filter((entry) => entry.id !== id);
    store.emit("views");
  },
  panel(store, event) {
    store.panel = event.panel ?? event;
    store.emit("panel");
  },
  toast: (store, { text, level }) => store.emit("toast", { text, level }),
};
