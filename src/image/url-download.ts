import type { Readable } from "node:stream";
import { type ErrorCode, GantryError } from "#base/errors.ts";
import { type RegistryTimeouts, defaultRegistryConfig } from "./registry-config.ts";
import { networkError, statusText } from "./registry-errors.ts";
import { readText } from "./registry-transport.ts";

const maxRedirects = 10;
/** What is shown of an error's page. */
const maxErrorBytes = 16 << 10;

const codeOfStatus: Record<number, ErrorCode> = {
  400: "invalid",
  401: "unauthorized",
  403: "forbidden",
  404: "not-found",
};

export interface UrlDownload {
  chunks: AsyncIterable<Buffer>;
  /** Bytes, where the server says so. */
  length: number | undefined;
  /** To be called in the end, whatever it was. */
  close(): Promise<void>;
}

/** A URL as `docker import` takes it: without a scheme it is http. Throws `invalid`. */
export function downloadUrl(source: string): URL {
  const text = source.includes("://") ? source : `http://${source}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new GantryError("invalid", `parse ${JSON.stringify(text)}: invalid URL`, { cause });
  }
  return url;
}

/**
 * Begins to download what is not in a registry. Follows redirects, and gives up on a server that is silent for too
 * long. Throws in docker's words (moby, builder/remotecontext/remote.go).
 */
export async function openDownload(
  source: string,
  options: { signal?: AbortSignal; timeouts?: RegistryTimeouts } = {},
): Promise<UrlDownload> {
  const { signal, timeouts = defaultRegistryConfig.timeouts } = options;
  const { Agent, request } = await import("undici");
  const agent = new Agent({
    connections: 1,
    headersTimeout: timeouts.headers,
    bodyTimeout: timeouts.idle,
    connect: { timeout: timeouts.connect },
  });
  const first = downloadUrl(source);
  let url = first;
  try {
    for (let hops = 0; ; hops++) {
      if (url.protocol !== "http:" && url.protocol !== "https:")
        throw failed(source, `unsupported protocol scheme ${JSON.stringify(url.protocol.slice(0, -1))}`);
      const answer = await request(url, {
        dispatcher: agent,
        method: "GET",
        headers: { "user-agent": "gantry" },
        ...(signal === undefined ? {} : { signal }),
      }).catch((cause: unknown) => {
        throw networkError("GET", url.href, cause);
      });
      const { statusCode, headers, body } = answer;
      const location = [headers["location"]].flat()[0];
      if ([301, 302, 303, 307, 308].includes(statusCode) && location !== undefined) {
        await readText(body, maxErrorBytes).catch(() => {});
        if (hops >= maxRedirects) throw failed(location, "stopped after 10 redirects");
        if (!URL.canParse(location, url)) throw failed(url.href, `failed to parse Location header ${location}`);
        url = new URL(location, url);
        continue;
      }
      if (statusCode >= 400) {
        const text = await readText(body, maxErrorBytes).catch(() => "");
        throw new GantryError(
          codeOfStatus[statusCode] ?? "internal",
          `failed to GET ${source.includes("://") ? source : first.href} with status ${statusText(statusCode)}: ${text.trim()}`,
        );
      }
      const length = Number([headers["content-length"]].flat()[0] ?? Number.NaN);
      // One that is let go of before its end has an error, which is nobody's.
      body.on("error", () => {});
      return {
        chunks: inWords(body, url),
        length: Number.isSafeInteger(length) ? length : undefined,
        close: () => agent.destroy(),
      };
    }
  } catch (error) {
    await agent.destroy();
    throw error;
  }
}

const failed = (url: string, why: string): GantryError =>
  new GantryError("unavailable", `Get ${JSON.stringify(url)}: ${why}`);

/** A body whose failures are in docker's words. */
async function* inWords(body: Readable, url: URL): AsyncGenerator<Buffer> {
  try {
    yield* body as AsyncIterable<Buffer>;
  } catch (error) {
    throw (error as { code?: string }).code === "UND_ERR_SOCKET"
      ? new GantryError("unavailable", "unexpected EOF", { cause: error })
      : networkError("GET", url.href, error);
  }
}
