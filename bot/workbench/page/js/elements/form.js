/** What the inputs of one message or one modal hold, in the shape of Slack's `state.values`. */

export class Form {
  #values;

  /** `start`: values held already, as those of a modal that was open before the page was loaded again. */
  constructor(start = {}) {
    this.#values = structuredClone(start);
  }

  set(blockId, actionId, value) {
    (this.#values[blockId] ??= {})[actionId] = value;
  }

  get(blockId, actionId) {
    return this.#values[blockId]?.[actionId];
  }

  /** Forgets the blocks that are no longer shown. */
  keepOnly(blockIds) {
    for (const id of Object.keys(this.#values)) if (!blockIds.has(id)) delete this.#values[id];
  }

  toJSON() {
    return this.#values;
  }
}
