/** Requests to the workbench that served this page; every one has a time limit and one kind of failure. */

const TIMEOUT_MS = 12_000;

/** The workbench did not answer (`status` 0), or refused. `message` is fit to be shown. */
export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError("The workbench did not answer. Is it still running?");
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Not JSON: judged by its status below.
  }
  if (!response.ok) throw new ApiError(body?.error ?? `The workbench answered ${response.status}.`, response.status);
  return body ?? {};
}

const query = (params) => {
  const entries = Object.entries(params).filter(([, value]) => value);
  return entries.length ? `?${new URLSearchParams(entries)}` : "";
};

export const get = (path, params = {}) => request(path + query(params), {});

export const post = (path, body) =>
  request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
