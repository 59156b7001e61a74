import { GantryError } from "#base/errors.ts";
import { type EngineDefaults, engineDefaults } from "#engine/engine-options.ts";
import { type RegistryConfig, defaultRegistryConfig } from "#image/registry-config.ts";
import { type Cidr, cidrOverlaps, requireCidr } from "#network/addresses.ts";
import type { NetworkingOptions } from "#network/networking.ts";
import { type DaemonSettings, readDaemonJson } from "./daemon-json.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { networkingOptions } from "./node-options.ts";
import { remappedRoot } from "./remapped-root.ts";

/** The engine's part of the settings. */
export function engineDefaultsOf(settings: DaemonSettings): EngineDefaults {
  return {
    logDriver: settings.logDriver,
    logOptions: settings.logOptions,
    ulimits: settings.ulimits,
    dns: settings.dns,
    labels: settings.labels,
    registryMirrors: settings.registryMirrors,
    insecureRegistries: settings.insecureRegistries,
    shmSize: settings.shmSize,
    ipcMode: settings.ipcMode,
    cgroupnsMode: settings.cgroupnsMode ?? engineDefaults.cgroupnsMode,
    init: settings.init,
    debug: settings.debug,
    liveRestore: settings.liveRestore,
    addressPools: settings.network.pools ?? [],
    warnings: settings.warnings.map((text) => `WARNING: ${text}`),
  };
}

/** The engine's part that a reload may change: all else stays as the start found it. */
export function reloadedDefaults(settings: DaemonSettings): Partial<EngineDefaults> {
  const { labels, registryMirrors, insecureRegistries, shmSize, ipcMode, cgroupnsMode, debug, liveRestore, warnings } =
    engineDefaultsOf(settings);
  return { labels, registryMirrors, insecureRegistries, shmSize, ipcMode, cgroupnsMode, debug, liveRestore, warnings };
}

/** How registries are reached, for `docker pull` and for pods alike. Mirrors are docker.io's, as dockerd has it. */
export function registryConfigOf(settings: DaemonSettings): RegistryConfig {
  return {
    ...defaultRegistryConfig,
    mirrors: settings.registryMirrors.length === 0 ? {} : { "docker.io": settings.registryMirrors },
    insecureRegistries: settings.insecureRegistries,
    maxConcurrentDownloads: settings.maxConcurrentDownloads,
    maxConcurrentUploads: settings.maxConcurrentUploads,
    maxDownloadAttempts: settings.maxDownloadAttempts,
  };
}

/**
 * The node's networking with what daemon.json says of it. Throws `invalid` when the default bridge or a pool lies
 * on the addresses of pods or services: no packet would find its way.
 */
export function networkingOf(config: InstanceConfig, settings: DaemonSettings, stateDir: string): NetworkingOptions {
  const plain = networkingOptions(config);
  const { network, dns } = settings;
  const subnet = network.bip?.subnet ?? plain.defaultBridge.subnet;
  const taken: [string, Cidr][] = [
    [`the pods' addresses ${config.podCidr}`, requireCidr(config.podCidr)],
    [`the services' addresses ${config.serviceCidr}`, requireCidr(config.serviceCidr)],
  ];
  const check = (key: string, text: string): void => {
    const clash = taken.find(([, cidr]) => cidrOverlaps(cidr, requireCidr(text)));
    if (clash !== undefined) throw new GantryError("invalid", `${key}: ${text} overlaps ${clash[0]}`);
  };
  if (network.bip !== undefined) check("bip", subnet);
  for (const pool of network.pools ?? []) check("default-address-pools", pool.base);
  return {
    ...plain,
    stateDir,
    pools: network.pools ?? plain.pools,
    dns: dns.servers,
    defaultBridge: {
      ...plain.defaultBridge,
      subnet,
      icc: network.icc,
      masquerade: network.masquerade,
      ...(network.bip === undefined ? {} : { gateway: network.bip.address }),
      ...(network.fixedCidr === undefined ? {} : { range: network.fixedCidr }),
      ...(network.ipv6 ? { ipv6: { subnet: network.fixedCidr6 } } : {}),
      ...(network.hostBinding === undefined ? {} : { hostBinding: network.hostBinding }),
      ...(network.mtu === undefined ? {} : { mtu: network.mtu }),
    },
  };
}

/** Reads an instance's daemon.json and checks all that can be before a start. Throws `invalid`. */
export async function checkDaemonJson(config: InstanceConfig): Promise<DaemonSettings> {
  const settings = readDaemonJson(config);
  networkingOf(config, settings, "");
  if (settings.usernsRemap === undefined) return settings;
  const { warnings } = await remappedRoot(settings.usernsRemap, { make: false });
  return { ...settings, warnings: [...settings.warnings, ...warnings] };
}

/** The attributes of the `daemon reload` event, each as JSON, by dockerd's names. */
export function reloadAttributes(settings: DaemonSettings, name: string): Record<string, string> {
  const json = (value: unknown): string => JSON.stringify(value);
  return {
    "allow-nondistributable-artifacts": "[]",
    debug: String(settings.debug),
    "default-ipc-mode": settings.ipcMode,
    "default-runtime": settings.defaultRuntime,
    "default-shm-size": String(settings.shmSize),
    features: json(settings.features),
    "insecure-registries": json(settings.insecureRegistries),
    labels: json(settings.labels),
    "live-restore": String(settings.liveRestore),
    "max-concurrent-downloads": String(settings.maxConcurrentDownloads),
    "max-concurrent-uploads": String(settings.maxConcurrentUploads),
    "max-download-attempts": String(settings.maxDownloadAttempts),
    name,
    "registry-mirrors": json(settings.registryMirrors),
    "shutdown-timeout": String(settings.shutdownTimeout ?? 15),
  };
}
