import { GantryError } from "#base/errors.ts";
import { parseAddress } from "./addresses.ts";

/** Driver options that are in force. */
export const optionNames = {
  bridgeName: "com.docker.network.bridge.name",
  icc: "com.docker.network.bridge.enable_icc",
  masquerade: "com.docker.network.bridge.enable_ip_masquerade",
  hostBinding: "com.docker.network.bridge.host_binding_ipv4",
  defaultBridge: "com.docker.network.bridge.default_bridge",
  gatewayMode4: "com.docker.network.bridge.gateway_mode_ipv4",
  gatewayMode6: "com.docker.network.bridge.gateway_mode_ipv6",
  inhibitIPv4: "com.docker.network.bridge.inhibit_ipv4",
  trustedInterfaces: "com.docker.network.bridge.trusted_host_interfaces",
  mtu: "com.docker.network.driver.mtu",
  interfacePrefix: "com.docker.network.container_iface_prefix",
  enableIPv4: "com.docker.network.enable_ipv4",
  enableIPv6: "com.docker.network.enable_ipv6",
  parent: "parent",
  macvlanMode: "macvlan_mode",
  ipvlanMode: "ipvlan_mode",
  ipvlanFlag: "ipvlan_flag",
  overlayPeers: "gantry.overlay.peers",
  overlayLocal: "gantry.overlay.local",
  overlayId: "gantry.overlay.vni",
} as const;

/** Options that dockerd knows and we cannot do. */
const refused = ["com.docker.network.host_ipv4", "com.docker.network.host_ipv6"];

const booleans = [
  optionNames.icc,
  optionNames.masquerade,
  optionNames.defaultBridge,
  optionNames.inhibitIPv4,
  optionNames.enableIPv4,
  optionNames.enableIPv6,
];

/** Go's strconv.ParseBool. */
const yes = ["1", "t", "T", "TRUE", "true", "True"];
const no = ["0", "f", "F", "FALSE", "false", "False"];

export const isTrue = (value: string | undefined): boolean => value !== undefined && yes.includes(value);
export const isFalse = (value: string | undefined): boolean => value !== undefined && no.includes(value);

/** True for drivers whose containers stand on a link of the machine, beside each other. */
export function standsOnParent(driver: string): boolean {
  return driver === "macvlan" || driver === "ipvlan";
}

/** False for a macvlan or ipvlan network that leads nowhere. */
export function hasParent(options: Readonly<Record<string, string>>): boolean {
  return (options[optionNames.parent] ?? "") !== "";
}

/** Options that a network keeps although nobody reads them, as with dockerd; whoever creates it is told. */
export function unknownOptions(options: Readonly<Record<string, string>>): string[] {
  const known: string[] = Object.values(optionNames);
  return Object.keys(options).filter((key) => key.startsWith("com.docker.network.") && !known.includes(key));
}

function invalid(message: string): GantryError {
  return new GantryError("invalid", message);
}

/** Checks driver options. Throws in docker's words. */
export function checkOptions(driver: string, options: Readonly<Record<string, string>>, internal: boolean): void {
  for (const key of [optionNames.enableIPv4, optionNames.enableIPv6]) {
    const value = options[key];
    if (value !== undefined && !isTrue(value) && !isFalse(value)) {
      throw invalid(`driver-opt "${key}" is not a valid bool`);
    }
  }
  for (const key of refused) {
    if (options[key] !== undefined) throw new GantryError("unsupported", `the network option ${key} is not supported`);
  }
  if (driver === "bridge") checkBridge(options, internal);
  if (standsOnParent(driver)) checkParentDriver(driver, options);
  const mtu = options[optionNames.mtu];
  if (mtu !== undefined && !(Number(mtu) >= 68 && Number(mtu) <= 65_535)) throw invalid(`invalid MTU number: ${mtu}`);
}

function checkBridge(options: Readonly<Record<string, string>>, internal: boolean): void {
  const bad = (key: string, why: string): GantryError =>
    invalid(`failed to parse ${key} value: ${options[key]} (${why})`);
  for (const key of booleans) {
    const value = options[key];
    if (value !== undefined && !isTrue(value) && !isFalse(value))
      throw bad(key, `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`);
  }
  const mtu = options[optionNames.mtu];
  if (mtu !== undefined && !/^[-+]?\d+$/.test(mtu))
    throw bad(optionNames.mtu, `strconv.Atoi: parsing ${JSON.stringify(mtu)}: invalid syntax`);
  const binding = options[optionNames.hostBinding];
  if (binding !== undefined && parseAddress(binding) === undefined) throw bad(optionNames.hostBinding, "nil ip");
  const name = options[optionNames.bridgeName];
  if (name !== undefined && !/^[^\s/:]{1,15}$/.test(name)) throw invalid(`invalid bridge name: ${name}`);
  for (const key of [optionNames.gatewayMode4, optionNames.gatewayMode6]) {
    const mode = options[key];
    if (mode === undefined) continue;
    if (!["nat", "nat-unprotected", "routed", "isolated"].includes(mode))
      throw bad(key, `unknown gateway mode ${mode}`);
    if (mode === "isolated" && !internal)
      throw new GantryError("internal", "gateway mode 'isolated' can only be used for an internal network");
  }
}

const modes: Record<string, { key: string; values: readonly string[]; what: string; otherwise: string }[]> = {
  macvlan: [
    {
      key: optionNames.macvlanMode,
      values: ["private", "vepa", "bridge", "passthru"],
      what: "macvlan mode",
      otherwise: "'bridge' mode is the macvlan driver default",
    },
  ],
  ipvlan: [
    {
      key: optionNames.ipvlanMode,
      values: ["l2", "l3", "l3s"],
      what: "ipvlan mode",
      otherwise: "'l2' mode is the ipvlan driver default",
    },
    {
      key: optionNames.ipvlanFlag,
      values: ["bridge", "private", "vepa"],
      what: "ipvlan flag",
      otherwise: "'bridge' is the ipvlan driver default",
    },
  ],
};

function checkParentDriver(driver: string, options: Readonly<Record<string, string>>): void {
  for (const { key, values, what, otherwise } of modes[driver] ?? []) {
    const value = options[key] || values[0];
    if (!values.includes(value as string))
      throw new GantryError("internal", `requested ${what} '${value}' is not valid, ${otherwise}`);
  }
  if (options[optionNames.parent] === "lo")
    throw new GantryError("internal", `loopback interface is not a valid ${driver} parent link`);
}
