/**
 * The live event stream of one person. After a lost connection it waits, comes back and loads the state again,
 * because what happened in between was not heard.
 */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;

export class Stream {
  #source = null;
  #timer = 0;
  #wait = FIRST_WAIT_MS;
  #user = null;

  constructor(store) {
    this.store = store;
  }

  /** Listens as `user`, leaving an earlier one. */
  open(user) {
    this.close();
    this.#user = user;
    this.#connect({ again: false });
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #connect({ again }) {
    const source = new EventSource(`/ui/stream?user=${encodeURIComponent(this.#user)}`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#wait = FIRST_WAIT_MS;
      this.#connected(true);
      if (again) this.#catchUp(source);
    });
    source.addEventListener("message", (event) => this.store.take(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      // The browser's own retry would not load what was missed; ours does.
      source.close();
      this.#connected(false);
      this.#timer = setTimeout(() => this.#connect({ again: true }), this.#wait);
      this.#wait = Math.min(LONGEST_WAIT_MS, this.#wait * 2);
    });
  }

  async #catchUp(source) {
    try {
      await this.store.load(this.#user);
      await this.store.loadPanel();
    } catch {
      if (source === this.#source) source.dispatchEvent(new Event("error"));
    }
  }

  #connected(connected) {
    if (this.store.connected === connected) return;
    this.store.connected = connected;
    this.store.emit("connection");
  }
}
