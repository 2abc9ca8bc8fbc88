/** Puts the page together: the store, the stream, the address, and what a person can do. */

import { ApiError, post } from "./api.js";
import { channelView } from "./ui/channel.js";
import { encode } from "./ui/composer.js";
import { fleetPanel } from "./panel/fleet.js";
import { modals } from "./ui/modals.js";
import { recall, remember } from "./memory.js";
import { replaceChildren } from "./dom.js";
import { Router } from "./router.js";
import { sidebar, sortChannels } from "./ui/sidebar.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { threadView } from "./ui/thread.js";
import { toast } from "./ui/toast.js";
import { tour } from "./panel/tour.js";

const READ_DELAY_MS = 150;
const NARROW_PX = 1000;

class App {
  #readTimers = new Map();

  constructor(root) {
    this.root = root;
    this.store = new Store();
    this.router = new Router();
    this.stream = new Stream(this.store);
    this.store.on("toast", ({ text, level }) => toast(text, level));
  }

  async start() {
    const { root, router, store } = this;
    this.#showFleet(recall("fleet", window.innerWidth < NARROW_PX ? "closed" : "open") === "open");
    replaceChildren(root, tour(this), sidebar(this), channelView(this), threadView(this), fleetPanel(this));
    modals(this);
    store.on("views", () => document.body.classList.toggle("modal-open", store.views.length > 0));
    router.on("moved", () => this.#follow());
    await this.#enter(router.place.as ?? recall("as"));
    await this.try(() => store.loadPanel());
  }

  /** Becomes `user` (or the first person of the workspace) and shows the channel that the address names. */
  async #enter(user) {
    const { router, store } = this;
    if (user) this.stream.open(user);
    const known = await this.try(() => store.load(user), { wait: true });
    if (!known) return;
    if (!user) this.stream.open(store.me);
    remember("as", store.me);
    const { channel, thread } = router.place;
    const { incidents, channels } = sortChannels([...store.channels.values()]);
    const first = channels.find((entry) => entry.name === "incidents") ?? incidents[0] ?? channels[0];
    router.go({ as: store.me, channel: store.channels.has(channel) ? channel : (first?.id ?? null), thread }, { replace: true });
    store.emit("channels");
  }

  #follow() {
    if (this.router.place.as && this.router.place.as !== this.store.me) this.#enter(this.router.place.as);
  }

  become(user) {
    if (user !== this.store.me) this.router.go({ as: user, thread: null });
  }

  /** Runs `work`; a failure is shown and answered with null. With `wait`, tries again until it works. */
  async try(work, { wait = false } = {}) {
    for (;;) {
      try {
        return (await work()) ?? true;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        toast(error.message, "error");
        if (!wait) return null;
        await new Promise((resolve) => { setTimeout(resolve, 2_000); });
      }
    }
  }

  loadMessages(channel) {
    return this.try(() => this.store.loadMessages(channel));
  }

  loadThread(channel, ts) {
    this.store.threads.set(`${channel}:${ts}`, []);
    return this.try(() => this.store.loadThread(channel, ts));
  }

  /** Sends a message, or a slash command; answers whether it was taken. */
  async say(channel, text, thread) {
    const known = text.startsWith("/") && this.store.commands.some((entry) => entry.command === text.split(/\s/)[0].toLowerCase());
    if (known) return Boolean(await this.try(() => post("/ui/command", { user: this.store.me, channel, text })));
    return Boolean(await this.try(() => post("/ui/message", { user: this.store.me, channel, text: encode(this.store, text), ...(thread ? { thread_ts: thread } : {}) })));
  }

  act(action) {
    return this.try(() => post("/ui/action", { user: this.store.me, ...action }));
  }

  async submitView(id, values) {
    try {
      return await post("/ui/view/submit", { user: this.store.me, view_id: id, values });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { ok: false, error: error.message };
    }
  }

  async closeView(id) {
    this.store.take({ type: "view_closed", view_id: id });
    await this.try(() => post("/ui/view/close", { user: this.store.me, view_id: id }));
  }

  react(channel, message, name, on) {
    return this.try(() => post("/ui/reaction", { user: this.store.me, channel, ts: message.ts, name, on }));
  }

  /** Marks a channel as read, if it has anything unread and this window is looked at. */
  read(channel) {
    if (document.hidden || !this.store.channels.get(channel)?.unread) return;
    clearTimeout(this.#readTimers.get(channel));
    this.#readTimers.set(channel, setTimeout(() => this.try(() => post("/ui/read", { user: this.store.me, channel })), READ_DELAY_MS));
  }

  fault(id, on) {
    return this.try(() => post(`/ui/faults/${encodeURIComponent(id)}`, { on }));
  }

  page(id, what, text) {
    return this.try(() => post(`/ui/pages/${encodeURIComponent(id)}/${what}`, { user: this.store.me, ...(text ? { text } : {}) }));
  }

  fleetOpen() {
    return this.root.dataset.fleet === "open";
  }

  toggleFleet() {
    this.#showFleet(!this.fleetOpen());
    remember("fleet", this.root.dataset.fleet);
    this.store.emit("fleet");
  }

  #showFleet(open) {
    this.root.dataset.fleet = open ? "open" : "closed";
  }
}

const app = new App(document.getElementById("app"));
app.start();
