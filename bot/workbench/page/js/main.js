/** Puts the page together: the store, the stream, the address, and what a person can do. */

import { ApiError, post } from "./api.js";
import { channelView } from "./ui/channel.js";
import { encode } from "./ui/composer.js";
import { fleetPanel } from "./panel/fleet.js";
import { modals } from "./ui/modals.js";
import { preload } from "./text/emoji.js";
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
const AGAIN_MS = 2_000;

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
    await this.#enter([router.place.as, recall("as")].filter(Boolean));
    preload();
  }

  /** Becomes the first of `candidates` whom the workspace knows (or its own first person), and shows the channel that the address names. */
  async #enter(candidates) {
    const { router, store } = this;
    await this.#load(candidates);
    this.stream.open(store.me);
    remember("as", store.me);
    const { channel, thread, message } = router.place;
    const { incidents, channels } = sortChannels([...store.channels.values()]);
    const first = channels.find((entry) => entry.name === "incidents") ?? incidents[0] ?? channels[0];
    const known = store.channels.has(channel);
    router.go({ as: store.me, channel: known ? channel : (first?.id ?? null), thread, message: known ? message : null }, { replace: true });
    store.emit("channels");
  }

  async #load([user, ...others]) {
    for (;;) {
      try {
        await this.store.load(user);
        return;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (user && error.status === 400) {
          await this.#load(others);
          return;
        }
        toast(error.message, "error");
        await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
      }
    }
  }

  #follow() {
    if (this.router.place.as && this.router.place.as !== this.store.me) this.#enter([this.router.place.as]);
  }

  become(user) {
    if (user !== this.store.me) this.router.go({ as: user, thread: null });
  }

  /** Runs `work`; answers what it answers (true for nothing). A failure is shown, and answered with null. */
  async try(work) {
    try {
      const answer = (await work()) ?? true;
      if (answer.ok !== false) return answer;
      toast(answer.error ?? "That did not work.", "error");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "error");
    }
    return null;
  }

  loadMessages(channel) {
    return this.try(() => this.store.loadMessages(channel));
  }

  loadThread(channel, ts) {
    this.store.threads.set(`${channel}:${ts}`, []);
    return this.try(() => this.store.loadThread(channel, ts));
  }

  /** Sends a message, or a slash command; answers whether it was taken. What fails in a command is told in the channel. */
  async say(channel, text, thread) {
    const body = { user: this.store.me, channel, text: encode(this.store, text) };
    if (!text.startsWith("/")) return Boolean(await this.try(() => post("/ui/message", thread ? { ...body, thread_ts: thread } : body)));
    return Boolean(await this.try(async () => { await post("/ui/command", body); }));
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

  /** Closes one view, or a whole stack at once. */
  async closeView(ids) {
    for (const id of ids) this.store.take({ type: "view_closed", view_id: id });
    await this.try(() => post("/ui/view/close", { user: this.store.me, view_id: ids.at(-1), whole_stack: ids.length > 1 }));
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
    return this.#panel(`/ui/faults/${encodeURIComponent(id)}`, { on });
  }

  /** Answers a page in PagerDuty as this person: `what` is acknowledge, resolve or reopen. */
  page(id, what) {
    return this.#panel(`/ui/pages/${encodeURIComponent(id)}/${what}`, { user: this.store.me });
  }

  async #panel(path, body) {
    const panel = await this.try(() => post(path, body));
    if (panel?.faults) this.store.take({ type: "panel", panel });
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
