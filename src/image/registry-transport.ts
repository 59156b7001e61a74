import type { Readable } from "node:stream";
import type { Agent, Dispatcher } from "undici";
import { GantryError } from "#base/errors.ts";
import { maxManifestBytes } from "./oci-parse.ts";
import { type RegistryCredentials, basicAuthorization, parseChallenges, userAndPassword } from "./registry-auth.ts";
import { type RegistryConfig, type RegistryEndpoint, certificatesOf } from "./registry-config.ts";
import { answerError, networkError } from "./registry-errors.ts";

export interface RegistryRequest {
  method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Absolute, or starting with a slash. */
  url: string;
  headers?: Record<string, string>;
  /** A function where the request may have to be sent again. */
  body?: Uint8Array | string | (() => AsyncIterable<Uint8Array>);
  /** What a token must allow: `repository:library/x:pull`. */
  scope?: string;
  credentials?: RegistryCredentials | undefined;
  signal?: AbortSignal | undefined;
  /** Statuses from 400 up that are no error. */
  accept?: readonly number[];
}

export interface RegistryAnswer {
  status: number;
  header(name: string): string | undefined;
  /** Where the answer came from, after redirects. */
  url: string;
  body: Readable;
}

const maxRedirects = 10;

interface Token {
  value: string;
  /** Milliseconds since the epoch. */
  expires: number;
}

/**
 * HTTP to registries: connections for each host with its certificates, tokens, redirects that never carry
 * credentials to another host, and timeouts on everything.
 */
export class RegistryTransport {
  readonly #config: RegistryConfig;
  /** Connections by host, with the certificates that they were made with. */
  readonly #agents = new Map<string, { agent: Agent; certificates: string }>();
  /** Of certificates that were replaced: requests may be under way. */
  readonly #retired: Agent[] = [];
  readonly #tokens = new Map<string, Token>();

  constructor(config: RegistryConfig) {
    this.#config = config;
  }

  async close(): Promise<void> {
    const current = [...this.#agents.values()].map(({ agent }) => agent);
    await Promise.all([...current, ...this.#retired.splice(0)].map((agent) => agent.destroy()));
    this.#agents.clear();
  }

  async #agent(host: string, insecure: boolean): Promise<Agent> {
    const key = `${host} ${insecure}`;
    // Read each time, as docker does: an authority that is put there is in force at once.
    const { ca, cert, key: privateKey } = certificatesOf(this.#config.certsDir, host);
    const certificates = JSON.stringify([ca, cert, privateKey]);
    const known = this.#agents.get(key);
    if (known?.certificates === certificates) return known.agent;
    const { Agent: UndiciAgent } = await import("undici");
    const { connect, headers, idle } = this.#config.timeouts;
    const { getCACertificates } = await import("node:tls");
    const meanwhile = this.#agents.get(key);
    if (meanwhile?.certificates === certificates) return meanwhile.agent;
    if (meanwhile !== undefined) this.#retired.push(meanwhile.agent);
    const agent = new UndiciAgent({
      connections: 16,
      headersTimeout: headers,
      bodyTimeout: idle,
      keepAliveTimeout: 5_000,
      connect: {
        timeout: connect,
        rejectUnauthorized: !insecure,
        // A host's own authority is trusted beside the system's, as docker does.
        ...(ca === undefined ? {} : { ca: [...getCACertificates("default"), ...ca] }),
        ...(cert === undefined ? {} : { cert, key: privateKey }),
      },
    });
    this.#agents.set(key, { agent, certificates });
    return agent;
  }

  /** Sends a request with what the registry asks for in credentials. Throws in docker's words. */
  async send(endpoint: RegistryEndpoint, request: RegistryRequest): Promise<RegistryAnswer> {
    const { credentials, scope = "" } = request;
    const known = this.#tokens.get(this.#tokenKey(endpoint, scope, credentials));
    const fresh = known !== undefined && known.expires > Date.now() ? known.value : undefined;
    const registryToken = credentials?.registrytoken;
    const first = registryToken !== undefined && registryToken !== "" ? `Bearer ${registryToken}` : fresh;
    const answer = await this.#follow(endpoint, request, first);
    if (answer.status !== 401) return this.#checked(request, answer);
    const challenges = parseChallenges(answer.header("www-authenticate") ?? "");
    const bearer = challenges.find((each) => each.scheme === "bearer");
    const basic = challenges.find((each) => each.scheme === "basic");
    if (bearer !== undefined) {
      await discard(answer);
      const token = await this.#token(endpoint, bearer.parameters, request);
      this.#tokens.set(this.#tokenKey(endpoint, scope, credentials), token);
      return this.#checked(request, await this.#follow(endpoint, request, token.value));
    }
    if (basic !== undefined) {
      const user = userAndPassword(credentials);
      if (user === undefined) {
        await discard(answer);
        throw networkLike(request, endpoint, "no basic auth credentials");
      }
      const value = basicAuthorization(user);
      if (first === value) return this.#checked(request, answer);
      await discard(answer);
      const again = await this.#follow(endpoint, request, value);
      if (again.status !== 401)
        this.#tokens.set(this.#tokenKey(endpoint, scope, credentials), { value, expires: Date.now() + 300_000 });
      return this.#checked(request, again);
    }
    return this.#checked(request, answer);
  }

  #tokenKey(endpoint: RegistryEndpoint, scope: string, credentials: RegistryCredentials | undefined): string {
    const who = credentials === undefined ? "" : JSON.stringify(credentials);
    return `${endpoint.base} ${scope} ${who}`;
  }

  async #checked(request: RegistryRequest, answer: RegistryAnswer): Promise<RegistryAnswer> {
    if (answer.status < 400 || request.accept?.includes(answer.status)) return answer;
    const body = await readText(answer.body, 64 << 10).catch(() => "");
    throw answerError(answer.status, body, answer.url);
  }

  async #follow(
    endpoint: RegistryEndpoint,
    request: RegistryRequest,
    authorization: string | undefined,
  ): Promise<RegistryAnswer> {
    const origin = new URL(endpoint.base).origin;
    let url = new URL(request.url.startsWith("/") ? endpoint.base + request.url : request.url);
    let shown = url.href;
    for (let hops = 0; ; hops++) {
      const sameHost = url.origin === origin;
      const answer = await this.#once(
        url,
        request,
        sameHost ? authorization : undefined,
        endpoint.insecure && sameHost,
      );
      const location = answer.header("location");
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
      await discard(answer);
      const fail = (why: string): GantryError =>
        new GantryError("unavailable", `${titled(request.method)} ${JSON.stringify(shown)}: ${why}`);
      if (hops >= maxRedirects) throw fail("stopped after 10 redirects");
      let next: URL;
      try {
        next = new URL(location, url);
      } catch {
        throw fail(`failed to parse Location header ${JSON.stringify(location)}`);
      }
      if (next.protocol !== "https:" && next.protocol !== "http:")
        throw fail(`unsupported protocol scheme ${JSON.stringify(next.protocol.slice(0, -1))}`);
      if (url.protocol === "https:" && next.protocol === "http:" && !endpoint.insecure)
        throw fail(`refused to follow a redirect from https to ${next.href}`);
      url = next;
      // Go names where it was sent to, as that was written.
      shown = location;
    }
  }

  async #once(
    url: URL,
    request: RegistryRequest,
    authorization: string | undefined,
    insecure: boolean,
  ): Promise<RegistryAnswer> {
    const { method, headers = {}, body, signal } = request;
    const dispatcher = await this.#agent(url.host, insecure);
    const { request: send } = await import("undici");
    try {
      const answer: Dispatcher.ResponseData = await send(url, {
        dispatcher,
        method,
        headers: {
          "user-agent": "gantry",
          ...headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        body: (typeof body === "function" ? body() : (body ?? null)) as never,
        ...(signal === undefined ? {} : { signal }),
      });
      const header = (name: string): string | undefined => {
        const value = answer.headers[name];
        return Array.isArray(value) ? value.join(", ") : value;
      };
      return { status: answer.statusCode, header, url: url.href, body: answer.body };
    } catch (cause) {
      throw networkError(method, url.href, cause);
    }
  }

  /** Asks the authorization server for a token (distribution, "Token Authentication"; OAuth 2 with a refresh token). */
  async #token(
    endpoint: RegistryEndpoint,
    challenge: Record<string, string>,
    request: RegistryRequest,
  ): Promise<Token> {
    const { realm, service } = challenge;
    let url: URL;
    try {
      url = new URL(realm ?? "");
    } catch (cause) {
      throw new GantryError("invalid", `the registry names ${JSON.stringify(realm)} as where to get a token`, {
        cause,
      });
    }
    if (url.protocol === "http:" && endpoint.base.startsWith("https:") && !endpoint.insecure)
      throw new GantryError("unauthorized", `refused to send credentials to ${url.href}: it is not https`);
    const scope = request.scope === undefined || request.scope === "" ? (challenge["scope"] ?? "") : request.scope;
    const { credentials } = request;
    const tokenRequest: RegistryRequest = { method: "GET", url: "", signal: request.signal };
    const user = userAndPassword(credentials);
    let authorization: string | undefined;
    if (credentials?.identitytoken !== undefined && credentials.identitytoken !== "") {
      tokenRequest.method = "POST";
      tokenRequest.headers = { "content-type": "application/x-www-form-urlencoded" };
      const form = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: credentials.identitytoken,
        client_id: "gantry",
      });
      if (service !== undefined) form.set("service", service);
      if (scope !== "") form.set("scope", scope);
      tokenRequest.body = form.toString();
    } else {
      if (service !== undefined) url.searchParams.set("service", service);
      for (const each of scope.split(" ").filter((one) => one !== "")) url.searchParams.append("scope", each);
      if (user !== undefined) {
        url.searchParams.set("account", user.user);
        authorization = basicAuthorization(user);
      }
    }
    tokenRequest.url = url.href;
    const at: RegistryEndpoint = { base: url.origin, host: url.host, insecure: endpoint.insecure, mirror: false };
    const answer = await this.#checked(tokenRequest, await this.#follow(at, tokenRequest, authorization));
    const text = await readText(answer.body, 1 << 20);
    let parsed: { token?: unknown; access_token?: unknown; expires_in?: unknown };
    try {
      parsed = JSON.parse(text) as typeof parsed;
    } catch (cause) {
      throw new GantryError("unavailable", "unable to decode token response: it is not JSON", { cause });
    }
    const value = parsed.token ?? parsed.access_token;
    if (typeof value !== "string" || value === "")
      throw new GantryError("unauthorized", "authorization server did not include a token in the response");
    const seconds = typeof parsed.expires_in === "number" && parsed.expires_in > 0 ? parsed.expires_in : 60;
    return { value: `Bearer ${value}`, expires: Date.now() + seconds * 800 };
  }
}

const titled = (method: string): string => method.charAt(0) + method.slice(1).toLowerCase();

function networkLike(request: RegistryRequest, endpoint: RegistryEndpoint, why: string): GantryError {
  const url = request.url.startsWith("/") ? endpoint.base + request.url : request.url;
  return new GantryError("unauthorized", `${titled(request.method)} ${JSON.stringify(url)}: ${why}`, {
    data: { status: 401 },
  });
}

/** Reads a small answer away, so that its connection can be used again. */
async function discard(answer: RegistryAnswer): Promise<void> {
  await readText(answer.body, 64 << 10).catch(() => {});
}

/** An answer's body, at most `limit` bytes. Throws `too-large`. */
export async function readBytes(body: Readable, limit = maxManifestBytes): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) {
      body.destroy();
      throw new GantryError("too-large", `the registry's answer is larger than ${limit} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export async function readText(body: Readable, limit?: number): Promise<string> {
  return (await readBytes(body, limit)).toString("utf8");
}
