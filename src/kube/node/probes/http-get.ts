import { type IncomingMessage, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { dialError } from "./network-error.ts";

export interface HttpGetOptions {
  scheme: "http" | "https";
  host: string;
  port: number;
  path: string;
  headers: { name: string; value: string }[];
  timeoutMs: number;
  userAgent: string;
}

export type HttpGetOutcome = { status: number; body: string } | { redirectedTo: string } | { error: string };

const maxBody = 10 * 1024;
const maxRedirects = 10;

/** One GET as the kubelet's prober does it: certificates are not checked, redirects on the same host followed. */
export async function httpGet(options: HttpGetOptions): Promise<HttpGetOutcome> {
  const deadline = performance.now() + options.timeoutMs;
  const bracketed = options.host.includes(":") ? `[${options.host}]` : options.host;
  let url = new URL(`${options.scheme}://${bracketed}:${options.port}`);
  const [path, ...query] = (options.path.startsWith("/") ? options.path : `/${options.path}`).split("?");
  url.pathname = path as string;
  url.search = query.join("?");
  const shown = `${options.scheme}://${bracketed}:${options.port}${options.path.startsWith("/") ? "" : "/"}${options.path}`;
  for (let redirects = 0; ; redirects++) {
    const outcome = await once(url, options, deadline, shown);
    if ("error" in outcome) return outcome;
    const { status, body, location } = outcome;
    if (location === undefined || ![301, 302, 303, 307, 308].includes(status)) return { status, body };
    const next = new URL(location, url);
    if (next.hostname !== url.hostname) return { redirectedTo: next.href };
    if (redirects >= maxRedirects) return { error: `Get "${location}": stopped after 10 redirects` };
    url = next;
  }
}

function once(
  url: URL,
  options: HttpGetOptions,
  deadline: number,
  shown: string,
): Promise<{ status: number; body: string; location?: string } | { error: string }> {
  return new Promise((resolve) => {
    const headers: Record<string, string | string[]> = {
      "User-Agent": options.userAgent,
      Accept: "*/*",
      Connection: "close",
    };
    for (const { name, value } of options.headers) {
      const key = Object.keys(headers).find((one) => one.toLowerCase() === name.toLowerCase()) ?? name;
      if (value === "") delete headers[key];
      else headers[key] = value;
    }
    const send = url.protocol === "https:" ? tlsRequest : plainRequest;
    const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
    let timedOut = false;
    const request = send(
      url,
      { headers, rejectUnauthorized: false, agent: false, method: "GET" },
      (response: IncomingMessage) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          if (size < maxBody) chunks.push(chunk);
          size += chunk.length;
          if (size >= maxBody) finish();
        });
        response.on("end", () => finish());
        response.on("error", (error) => done({ error: `Get "${shown}": ${error.message}` }));
        const finish = (): void => {
          const body = Buffer.concat(chunks).subarray(0, maxBody).toString("utf8");
          done({ status: response.statusCode ?? 0, body, location: response.headers.location });
        };
      },
    );
    const timer = setTimeout(
      () => {
        timedOut = true;
        request.destroy();
        const what =
          request.socket?.connecting === false
            ? "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            : `dial tcp ${url.host}: i/o timeout`;
        done({ error: `Get "${shown}": ${what}` });
      },
      Math.max(1, deadline - performance.now()),
    );
    const done = (outcome: { status: number; body: string; location?: string } | { error: string }): void => {
      clearTimeout(timer);
      request.destroy();
      resolve(outcome);
    };
    request.on("error", (error) => {
      if (!timedOut) done({ error: `Get "${shown}": ${dialError(url.hostname.replace(/^\[|\]$/g, ""), port, error)}` });
    });
    request.end();
  });
}
