import type { KubeObject } from "#api/kube/object.ts";
import { hasCode } from "#base/errors.ts";
import type { HttpRequest, HttpResponse } from "#web/http.ts";
import { proxyRequest, proxyUpgrade, type ProxyTarget } from "#web/proxy.ts";
import { badRequest, internalError, notFound, serviceUnavailable } from "./api-error.ts";
import type { ResourceHandle } from "./resource-type.ts";

export interface NodeConnectionParts {
  pods: ResourceHandle;
  nodes: ResourceHandle;
  services: ResourceHandle;
  endpointSlices: ResourceHandle;
  tls: { cert: string; key: string; ca?: string } | undefined;
}

interface Pod extends KubeObject {
  spec: { nodeName?: string; containers: Named[]; initContainers?: Named[]; ephemeralContainers?: Named[] };
  status?: { podIP?: string };
}

interface Named {
  name: string;
  ports?: { containerPort: number }[];
}

interface Node extends KubeObject {
  status?: {
    addresses?: { type: string; address: string }[];
    daemonEndpoints?: { kubeletEndpoint?: { Port?: number } };
  };
}

const clientOnlyHeaders = { authorization: undefined, host: undefined, "impersonate-user": undefined };

/** Passes requests about running pods on to where they run: node agents (over TLS), pods and services. */
export class NodeConnection {
  readonly #parts: NodeConnectionParts;

  constructor(parts: NodeConnectionParts) {
    this.#parts = parts;
  }

  /** `pods/log`, `exec`, `attach`, `portforward`. */
  async pod(
    verb: "log" | "exec" | "attach" | "portforward",
    namespace: string,
    name: string,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<void> {
    const pod = (await this.#object(this.#parts.pods, namespace, name)) as Pod;
    const { query } = request;
    const path = `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
    if (verb === "portforward") {
      const ports = query.getAll("ports").map((port) => `port=${encodeURIComponent(port)}`);
      return this.#pass(pod, `/portForward/${path}${ports.length > 0 ? `?${ports.join("&")}` : ""}`, request, response);
    }
    const container = containerOf(pod, query.get("container") ?? "");
    const out = new URLSearchParams();
    if (verb === "log") {
      for (const option of [
        "follow",
        "previous",
        "timestamps",
        "sinceSeconds",
        "sinceTime",
        "tailLines",
        "limitBytes",
        "stream",
      ]) {
        const value = query.get(option);
        if (value !== null && value !== "") out.set(option, value);
      }
      checkLogOptions(query);
    } else {
      const on = (option: string): boolean => ["true", "1", ""].includes(query.get(option) ?? "false");
      if (on("stdin")) out.set("input", "1");
      if (on("stdout")) out.set("output", "1");
      if (on("stderr")) out.set("error", "1");
      if (on("tty")) out.set("tty", "1");
      if (verb === "exec") {
        const command = query.getAll("command");
        if (command.length === 0) throw badRequest("you must specify at least 1 command for the container");
        for (const word of command) out.append("command", word);
      }
      if (!on("stdin") && !on("stdout") && !on("stderr"))
        throw badRequest("you must specify at least one of stdin, stdout, stderr");
    }
    const root = { log: "containerLogs", exec: "exec", attach: "attach" }[verb];
    const text = out.toString();
    return this.#pass(
      pod,
      `/${root}/${path}/${encodeURIComponent(container)}${text === "" ? "" : `?${text}`}`,
      request,
      response,
    );
  }

  /** `pods/proxy`: `[scheme:]name[:port]`. */
  async podProxy(
    namespace: string,
    name: string,
    rest: string,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<void> {
    const { scheme, id, port } = splitProxyName(name);
    const pod = (await this.#object(this.#parts.pods, namespace, id)) as Pod;
    const ip = pod.status?.podIP;
    if (!ip) throw badRequest(`address not allowed`);
    const number = Number(port || (pod.spec.containers.flatMap(({ ports = [] }) => ports)[0]?.containerPort ?? 80));
    await this.#forward(request, response, {
      host: ip,
      port: number,
      target: withQuery(rest, request),
      ...(scheme === "https" ? { tls: { insecure: true } } : {}),
      headers: clientOnlyHeaders,
    });
  }

  /** `services/proxy`: to one ready endpoint. */
  async serviceProxy(
    namespace: string,
    name: string,
    rest: string,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<void> {
    const { scheme, id, port } = splitProxyName(name);
    const service = (await this.#object(this.#parts.services, namespace, id)) as KubeObject & {
      spec?: { ports?: { name?: string; port: number }[] };
    };
    const known = service.spec?.ports ?? [];
    const wanted = port === "" ? known[0] : known.find((each) => each.name === port || String(each.port) === port);
    if (wanted === undefined)
      throw serviceUnavailable(`no service port ${JSON.stringify(port)} found for service ${JSON.stringify(id)}`);
    const { cache } = this.#parts.endpointSlices;
    await cache.ready();
    const choices: { host: string; port: number }[] = [];
    for (const { object } of cache.list(namespace)) {
      if (object.metadata?.labels?.["kubernetes.io/service-name"] !== id) continue;
      const slice = object as KubeObject & {
        ports?: { name?: string; port?: number }[];
        endpoints?: { addresses: string[]; conditions?: { ready?: boolean } }[];
      };
      const at = slice.ports?.find((each) => (each.name ?? "") === (wanted.name ?? ""));
      if (at?.port === undefined) continue;
      for (const { addresses, conditions } of slice.endpoints ?? [])
        if (conditions?.ready !== false && addresses[0] !== undefined)
          choices.push({ host: addresses[0], port: at.port });
    }
    const choice = choices[Math.floor(Math.random() * choices.length)];
    if (choice === undefined) throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(id)}`);
    await this.#forward(request, response, {
      ...choice,
      target: withQuery(rest, request),
      ...(scheme === "https" ? { tls: { insecure: true } } : {}),
      headers: clientOnlyHeaders,
    });
  }

  /** `nodes/proxy`: to the node agent. */
  async nodeProxy(name: string, rest: string, request: HttpRequest, response: HttpResponse): Promise<void> {
    const { id, port } = splitProxyName(name);
    const target = await this.#nodeTarget(id, withQuery(rest, request));
    if (port !== "" && Number(port) !== target.port) {
      const { tls: _none, ...plain } = target;
      return this.#forward(request, response, { ...plain, port: Number(port) });
    }
    return this.#forward(request, response, target);
  }

  async #pass(pod: Pod, target: string, request: HttpRequest, response: HttpResponse): Promise<void> {
    const node = pod.spec.nodeName;
    if (!node) throw badRequest(`pod ${pod.metadata?.name} does not have a host assigned`);
    await this.#forward(request, response, await this.#nodeTarget(node, target));
  }

  async #nodeTarget(name: string, target: string): Promise<ProxyTarget> {
    const node = (await this.#object(this.#parts.nodes, "", name)) as Node;
    const addresses = node.status?.addresses ?? [];
    const host = (addresses.find(({ type }) => type === "InternalIP") ?? addresses[0])?.address;
    const port = node.status?.daemonEndpoints?.kubeletEndpoint?.Port;
    if (host === undefined) throw internalError(`no preferred addresses found; known addresses: []`);
    const { tls } = this.#parts;
    return {
      host,
      port: port || 10250,
      target,
      tls: tls === undefined ? { insecure: true } : { ...tls, ...(tls.ca === undefined ? { insecure: true } : {}) },
      headers: clientOnlyHeaders,
    };
  }

  async #forward(request: HttpRequest, response: HttpResponse, target: ProxyTarget): Promise<void> {
    try {
      if (request.upgrade === undefined) await proxyRequest(request, response, target);
      else await proxyUpgrade(request, response, target);
    } catch (error) {
      if (!hasCode(error, "unavailable") || response.started) throw error;
      const cause = error.cause instanceof Error ? error.cause.message : error.message;
      const where = `${target.tls === undefined ? "http" : "https"}://${target.host}:${target.port}${target.target}`;
      throw internalError(
        `error dialing backend: ${cause.startsWith("connect") ? `dial tcp ${target.host}:${target.port}: ${cause}` : `${where}: ${cause}`}`,
        error,
      );
    }
  }

  async #object(handle: ResourceHandle, namespace: string, name: string): Promise<KubeObject> {
    const { cache, type } = handle;
    await cache.consistent();
    const entry = cache.get(cache.keyOf(namespace, name));
    if (entry === undefined) throw notFound(type, name);
    return entry.object;
  }
}

function containerOf(pod: Pod, asked: string): string {
  const { containers, initContainers = [], ephemeralContainers = [] } = pod.spec;
  const all = [...containers, ...initContainers, ...ephemeralContainers].map(({ name }) => name);
  const name = pod.metadata?.name ?? "";
  if (asked !== "") {
    if (!all.includes(asked)) throw badRequest(`container ${asked} is not valid for pod ${name}`);
    return asked;
  }
  if (containers.length === 1) return (containers[0] as Named).name;
  const preferred = pod.metadata?.annotations?.["kubectl.kubernetes.io/default-container"];
  if (preferred !== undefined && all.includes(preferred)) return preferred;
  const list = (items: Named[]): string => `[${items.map((item) => item.name).join(" ")}]`;
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: ${list(containers)}${initContainers.length > 0 ? ` or one of the init containers: ${list(initContainers)}` : ""}`,
  );
}

function checkLogOptions(query: URLSearchParams): void {
  for (const option of ["sinceSeconds", "tailLines", "limitBytes"]) {
    const value = query.get(option);
    if (value !== null && value !== "" && !/^-?\d+$/.test(value))
      throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
  }
}

/** `[scheme:]id[:port]` (apimachinery, SplitSchemeNamePort). */
function splitProxyName(text: string): { scheme: string; id: string; port: string } {
  const parts = text.split(":");
  if (parts.length === 3) return { scheme: parts[0] as string, id: parts[1] as string, port: parts[2] as string };
  return { scheme: "", id: parts[0] as string, port: parts[1] ?? "" };
}

function withQuery(rest: string, request: HttpRequest): string {
  return `${rest === "" ? "/" : rest}${request.rawQuery === "" ? "" : `?${request.rawQuery}`}`;
}
