import { GantryError } from "#base/errors.ts";

/** What a key holds: the JSON kind, and dockerd's own name of it for its complaint about another kind. */
export type KeyShape =
  | "bool"
  | "int"
  | "string"
  | "strings"
  | "stringMap"
  | "boolMap"
  | "objects"
  | "objectMap"
  | "size";

interface Refusal {
  shape: KeyShape;
  /** Values that ask for nothing that is not so anyway, as JSON. Empty lists, objects and texts always are. */
  fine?: readonly string[];
  why: string;
}

/** Keys that are in force, with what they hold. */
export const keysInForce = {
  "data-root": "string",
  graph: "string",
  "registry-mirrors": "strings",
  "insecure-registries": "strings",
  bip: "string",
  "fixed-cidr": "string",
  "fixed-cidr-v6": "string",
  ipv6: "bool",
  icc: "bool",
  ip: "string",
  "ip-masq": "bool",
  mtu: "int",
  "default-address-pools": "objects",
  dns: "strings",
  "dns-opts": "strings",
  "dns-search": "strings",
  "log-driver": "string",
  "log-opts": "stringMap",
  "log-level": "string",
  debug: "bool",
  labels: "strings",
  "exec-opts": "strings",
  "live-restore": "bool",
  "shutdown-timeout": "int",
  "max-concurrent-downloads": "int",
  "max-concurrent-uploads": "int",
  "max-download-attempts": "int",
  hosts: "strings",
  group: "string",
  tls: "bool",
  tlsverify: "bool",
  tlscacert: "string",
  tlscert: "string",
  tlskey: "string",
  "storage-driver": "string",
  "default-ulimits": "objectMap",
  "default-shm-size": "size",
  "default-ipc-mode": "string",
  "default-cgroupns-mode": "string",
  "default-runtime": "string",
  features: "boolMap",
  init: "bool",
  "userns-remap": "string",
} as const satisfies Record<string, KeyShape>;

export type KeyInForce = keyof typeof keysInForce;

/** dockerd's other keys: an error unless the value changes nothing. */
export const keysRefused: Readonly<Record<string, Refusal>> = {
  "allow-nondistributable-artifacts": { shape: "strings", why: "foreign layers are never pushed" },
  "api-cors-header": { shape: "string", why: "the API answers no browsers" },
  "authorization-plugins": { shape: "strings", why: "there are no plugins" },
  bridge: { shape: "string", why: "the default bridge has the instance's own name" },
  "bridge-accept-fwmark": { shape: "string", why: "the rules of Gantry's table cannot be loosened by a mark" },
  builder: { shape: "objectMap", why: "the builder keeps its cache as images" },
  "cdi-spec-dirs": { shape: "strings", why: "CDI devices are not implemented" },
  "cgroup-parent": { shape: "string", why: "the parent cgroup belongs to the instance" },
  containerd: { shape: "string", why: "there is no containerd" },
  "containerd-namespace": { shape: "string", why: "there is no containerd" },
  "containerd-plugins-namespace": { shape: "string", why: "there is no containerd" },
  "cri-containerd": { shape: "bool", fine: ["false"], why: "there is no containerd" },
  "cpu-rt-period": { shape: "int", fine: ["0"], why: "real-time scheduling of the parent cgroup is not implemented" },
  "cpu-rt-runtime": { shape: "int", fine: ["0"], why: "real-time scheduling of the parent cgroup is not implemented" },
  "default-gateway": { shape: "string", why: "containers leave through the bridge's own address" },
  "default-gateway-v6": { shape: "string", why: "containers leave through the bridge's own address" },
  "default-network-opts": { shape: "objectMap", why: "give the options with `docker network create --opt`" },
  "exec-root": { shape: "string", why: "run-time state is in /run/gantry/NAME" },
  experimental: { shape: "bool", fine: ["false"], why: "there are no experimental features" },
  "firewall-backend": { shape: "string", fine: ['"nftables"'], why: "rules are written with nftables" },
  "host-gateway-ip": { shape: "string", why: "host-gateway is the default bridge's address" },
  "host-gateway-ips": { shape: "strings", why: "host-gateway is the default bridge's address" },
  "http-proxy": { shape: "string", why: "set HTTP_PROXY where `gantry up` runs" },
  "https-proxy": { shape: "string", why: "set HTTPS_PROXY where `gantry up` runs" },
  "no-proxy": { shape: "string", why: "set NO_PROXY where `gantry up` runs" },
  proxies: { shape: "objectMap", why: "set HTTP_PROXY, HTTPS_PROXY and NO_PROXY where `gantry up` runs" },
  "init-path": { shape: "string", why: "the init is found among the machine's programs" },
  "ip-forward": { shape: "bool", fine: ["true"], why: "bridges need it" },
  "ip-forward-no-drop": {
    shape: "bool",
    fine: ["true"],
    why: "the machine's FORWARD policy is never changed, so true",
  },
  ip6tables: { shape: "bool", fine: ["true"], why: "published ports and isolation need it" },
  iptables: { shape: "bool", fine: ["true"], why: "published ports and isolation need it" },
  "allow-direct-routing": { shape: "bool", fine: ["false"], why: "use the network option gateway_mode_ipv4=routed" },
  "log-format": { shape: "string", fine: ['"json"'], why: "log lines are JSON" },
  "metrics-addr": { shape: "string", why: "metrics are not served" },
  "min-api-version": { shape: "string", why: "the oldest version is fixed" },
  "network-control-plane-mtu": { shape: "int", fine: ["1500"], why: "there is no swarm" },
  "network-diagnostic-port": { shape: "int", fine: ["0"], why: "there is no swarm" },
  "no-new-privileges": { shape: "bool", fine: ["false"], why: "use --security-opt no-new-privileges" },
  "node-generic-resources": { shape: "strings", why: "there is no swarm" },
  "oom-score-adjust": { shape: "int", fine: ["0"], why: "set OOMScoreAdjust in the systemd unit" },
  pidfile: { shape: "string", why: "it is /run/gantry/NAME/gantry.pid" },
  "raw-logs": { shape: "bool", fine: ["false"], why: "log lines have no colours" },
  rootless: { shape: "bool", fine: ["false"], why: "Gantry needs root" },
  runtimes: { shape: "objectMap", why: "containers run with the one OCI runtime that was found" },
  "seccomp-profile": { shape: "string", fine: ['"builtin"'], why: "use --security-opt seccomp=FILE" },
  "selinux-enabled": { shape: "bool", fine: ["false"], why: "SELinux labels are not implemented" },
  "storage-opts": { shape: "strings", why: "overlay2 has no options here" },
  "swarm-default-advertise-addr": { shape: "string", why: "there is no swarm" },
  "swarm-raft-election-tick": { shape: "int", fine: ["0"], why: "there is no swarm" },
  "swarm-raft-heartbeat-tick": { shape: "int", fine: ["0"], why: "there is no swarm" },
  "userland-proxy": {
    shape: "bool",
    fine: ["true", "false"],
    why: "published ports are reachable from this machine without a proxy process",
  },
  "userland-proxy-path": { shape: "string", why: "there is no proxy process" },
};

const goTypes: Record<KeyShape, string> = {
  bool: "bool",
  int: "int",
  string: "string",
  strings: "[]string",
  stringMap: "map[string]string",
  boolMap: "map[string]bool",
  objects: "[]*ipamutils.NetworkToSplit",
  objectMap: "map[string]interface {}",
  size: "opts.MemBytes",
};

function jsonKind(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : (typeof value as string);
}

function wrong(key: string, value: unknown, goType: string): GantryError {
  // A number that is no whole one is shown, as dockerd does.
  const kind = typeof value === "number" && goType === "int" ? `number ${value}` : jsonKind(value);
  return new GantryError(
    "invalid",
    `json: cannot unmarshal ${kind} into Go struct field Config.${key} of type ${goType}`,
  );
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);

/** Throws dockerd's complaint when a key holds another kind of value than it should. */
function checkShape(key: string, shape: KeyShape, value: unknown): void {
  const list = (isElement: (element: unknown) => boolean, goType: string): void => {
    if (!Array.isArray(value)) throw wrong(key, value, goTypes[shape]);
    for (const element of value) if (!isElement(element)) throw wrong(key, element, goType);
  };
  const map = (isElement: (element: unknown) => boolean, goType: string): void => {
    if (!isObject(value)) throw wrong(key, value, goTypes[shape]);
    for (const element of Object.values(value as object)) if (!isElement(element)) throw wrong(key, element, goType);
  };
  const isString = (element: unknown): boolean => typeof element === "string";
  const scalars: Partial<Record<KeyShape, boolean>> = {
    bool: typeof value === "boolean",
    int: Number.isSafeInteger(value),
    string: typeof value === "string",
    size: typeof value === "string" || Number.isSafeInteger(value),
  };
  if (shape in scalars) {
    if (scalars[shape] !== true) throw wrong(key, value, goTypes[shape]);
  } else if (shape === "strings") list(isString, "string");
  else if (shape === "objects") list(isObject, "ipamutils.NetworkToSplit");
  else if (shape === "stringMap") map(isString, "string");
  else if (shape === "boolMap") map((element) => typeof element === "boolean", "bool");
  else map((element) => isObject(element) || key !== "default-ulimits", "units.Ulimit");
}

function changesNothing(value: unknown, fine: readonly string[] = []): boolean {
  if (value === "" || fine.includes(JSON.stringify(value))) return true;
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/** The values that are in force, by key, each of its shape. */
export type DaemonJsonValues = Partial<Record<KeyInForce, unknown>>;

/**
 * Picks what is in force out of a parsed daemon.json. Throws `invalid`: for keys that are none of dockerd's, for
 * values of a wrong kind, and for dockerd's keys that are not in force here, with the reason.
 */
export function checkKeys(parsed: unknown): DaemonJsonValues {
  if (parsed === null) return {};
  if (!isObject(parsed)) {
    throw new GantryError(
      "invalid",
      `json: cannot unmarshal ${jsonKind(parsed)} into Go value of type map[string]interface {}`,
    );
  }
  const entries = Object.entries(parsed as Record<string, unknown>);
  const unknown = entries
    .map(([key]) => key)
    .filter((key) => !Object.hasOwn(keysInForce, key) && !Object.hasOwn(keysRefused, key));
  if (unknown.length > 0) {
    throw new GantryError(
      "invalid",
      `the following directives don't match any configuration option: ${unknown.sort().join(", ")}`,
    );
  }
  const out: DaemonJsonValues = {};
  for (const [key, value] of entries) {
    if (value === null) continue;
    const refusal = Object.hasOwn(keysRefused, key) ? keysRefused[key] : undefined;
    if (refusal === undefined) {
      checkShape(key, keysInForce[key as KeyInForce], value);
      out[key as KeyInForce] = value;
      continue;
    }
    checkShape(key, refusal.shape, value);
    if (changesNothing(value, refusal.fine)) continue;
    throw new GantryError("invalid", `the directive ${key} is not supported by Gantry: ${refusal.why}`);
  }
  return out;
}
