/** Topics and listeners, the one way in which the parts of this page hear of each other. */

export class Emitter {
  #listeners = new Map();

  /** Calls `listener(detail)` on each `emit(topic, detail)`; returns a function that stops it. */
  on(topics, listener) {
    const names = topics.split(" ");
    for (const name of names) {
      if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
      this.#listeners.get(name).add(listener);
    }
    return () => names.forEach((name) => this.#listeners.get(name).delete(listener));
  }

  emit(topic, detail) {
    for (const listener of [...(this.#listeners.get(topic) ?? [])]) listener(detail);
  }
}
