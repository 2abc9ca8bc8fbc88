/** Where the reader is, kept in the address: `#/C0INCIDENTS?as=U0MAYA&thread=1700000000.000100`. */

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
    return { channel: decodeURIComponent(path) || null, as: params.get("as"), thread: params.get("thread") };
  }

  /** The address of a place; what is not named stays as it is, except the thread, which closes. */
  href(change) {
    const { channel, as, thread } = { ...this.place, thread: null, ...change };
    const params = new URLSearchParams();
    if (as) params.set("as", as);
    if (thread) params.set("thread", thread);
    const search = params.toString();
    return `#/${channel ?? ""}${search ? `?${search}` : ""}`;
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
