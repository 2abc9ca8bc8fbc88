/**
 * Where the reader is, kept in the address: `#/C0INCIDENTS?as=U0MAYA&thread=1700000000.000100`, or
 * `#/C0INCIDENTS/1700000000.000100` for one message.
 */

import { Emitter } from "./emitter.js";

export class Router extends Emitter {
  constructor() {
    super();
    this.place = this.#read();
    window.addEventListener("hashchange", () => {
      const before = this.place;
      this.place = this.#read();
      this.emit("moved", before);
    });
  }

  #read() {
    const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
    const params = new URLSearchParams(search ?? "");
    const [channel, message] = path.split("/");
    return { channel: channel || null, message: message ?? null, as: params.get("as") ?? this.place?.as ?? null, thread: params.get("thread") };
  }

  /** The address of a place; what is not named stays, but a thread closes and a single message is left. */
  href(change) {
    const { channel, message, as, thread } = { ...this.place, message: null, thread: null, ...change };
    const params = new URLSearchParams();
    if (as) params.set("as", as);
    if (thread) params.set("thread", thread);
    const search = params.toString();
    return `#/${channel ?? ""}${message ? `/${message}` : ""}${search ? `?${search}` : ""}`;
  }

  go(change, { replace = false } = {}) {
    const href = this.href(change);
    if (href === location.hash) return;
    if (!replace) {
      location.hash = href;
      return;
    }
    const before = this.place;
    history.replaceState(null, "", href);
    this.place = this.#read();
    this.emit("moved", before);
  }
}
