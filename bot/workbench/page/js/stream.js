/**
 * The live event stream of one person. Whenever it begins, at first and after a lost connection, the state is
 * loaded again, because what happened just before was not heard.
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
    this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #connect() {
    const source = new EventSource(`/ui/stream?user=${encodeURIComponent(this.#user)}`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#wait = FIRST_WAIT_MS;
      this.#connected(true);
      this.#catchUp(source);
    });
    source.addEventListener("message", (event) => this.store.take(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      // The browser's own retry would not load what was missed; ours does.
      source.close();
      this.#connected(false);
      this.#timer = setTimeout(() => this.#connect(), this.#wait);
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
