import type { Shape } from "./body-shape.ts";

/** Types of the fields of request bodies (Docker Engine API 1.51). */

const strings: Shape = { list: "string" };
const stringMap: Shape = { map: "string" };
const weightDevices: Shape = { list: { fields: { Path: "string", Weight: "int" } } };
const throttleDevices: Shape = { list: { fields: { Path: "string", Rate: "int" } } };
const portMap: Shape = { map: { list: { fields: { HostIp: "string", HostPort: "string" } } } };
const restartPolicy: Shape = { fields: { Name: "string", MaximumRetryCount: "int" } };

const resources = {
  CpuShares: "int",
  Memory: "int",
  NanoCpus: "int",
  CgroupParent: "string",
  BlkioWeight: "int",
  BlkioWeightDevice: weightDevices,
  BlkioDeviceReadBps: throttleDevices,
  BlkioDeviceWriteBps: throttleDevices,
  BlkioDeviceReadIOps: throttleDevices,
  BlkioDeviceWriteIOps: throttleDevices,
  CpuPeriod: "int",
  CpuQuota: "int",
  CpuRealtimePeriod: "int",
  CpuRealtimeRuntime: "int",
  CpusetCpus: "string",
  CpusetMems: "string",
  Devices: { list: { fields: { PathOnHost: "string", PathInContainer: "string", CgroupPermissions: "string" } } },
  DeviceCgroupRules: strings,
  DeviceRequests: {
    list: {
      fields: {
        Driver: "string",
        Count: "int",
        DeviceIDs: strings,
        Capabilities: { list: strings },
        Options: stringMap,
      },
    },
  },
  KernelMemory: "int",
  KernelMemoryTCP: "int",
  MemoryReservation: "int",
  MemorySwap: "int",
  MemorySwappiness: "int",
  OomKillDisable: "bool",
  PidsLimit: "int",
  Ulimits: { list: { fields: { Name: "string", Soft: "int", Hard: "int" } } },
  CpuCount: "int",
  CpuPercent: "int",
  IOMaximumIOps: "int",
  IOMaximumBandwidth: "int",
} as const satisfies Record<string, Shape>;

const mount: Shape = {
  fields: {
    Type: "string",
    Source: "string",
    Target: "string",
    ReadOnly: "bool",
    Consistency: "string",
    BindOptions: {
      fields: {
        Propagation: "string",
        NonRecursive: "bool",
        CreateMountpoint: "bool",
        ReadOnlyNonRecursive: "bool",
        ReadOnlyForceRecursive: "bool",
      },
    },
    VolumeOptions: {
      fields: {
        NoCopy: "bool",
        Labels: stringMap,
        DriverConfig: { fields: { Name: "string", Options: stringMap } },
        Subpath: "string",
      },
    },
    ImageOptions: { fields: { Subpath: "string" } },
    TmpfsOptions: { fields: { SizeBytes: "int", Mode: "int", Options: { list: strings } } },
  },
};

const hostConfig: Shape = {
  fields: {
    ...resources,
    Binds: strings,
    ContainerIDFile: "string",
    LogConfig: { fields: { Type: "string", Config: stringMap } },
    NetworkMode: "string",
    PortBindings: portMap,
    RestartPolicy: restartPolicy,
    AutoRemove: "bool",
    VolumeDriver: "string",
    VolumesFrom: strings,
    ConsoleSize: { list: "int" },
    Annotations: stringMap,
    CapAdd: strings,
    CapDrop: strings,
    CgroupnsMode: "string",
    Dns: strings,
    DnsOptions: strings,
    DnsSearch: strings,
    ExtraHosts: strings,
    GroupAdd: strings,
    IpcMode: "string",
    Cgroup: "string",
    Links: strings,
    OomScoreAdj: "int",
    PidMode: "string",
    Privileged: "bool",
    PublishAllPorts: "bool",
    ReadonlyRootfs: "bool",
    SecurityOpt: strings,
    StorageOpt: stringMap,
    Tmpfs: stringMap,
    UTSMode: "string",
    UsernsMode: "string",
    ShmSize: "int",
    Sysctls: stringMap,
    Runtime: "string",
    Isolation: "string",
    Mounts: { list: mount },
    MaskedPaths: strings,
    ReadonlyPaths: strings,
    Init: "bool",
  },
};

export const endpointSettings: Shape = {
  fields: {
    IPAMConfig: { fields: { IPv4Address: "string", IPv6Address: "string", LinkLocalIPs: strings } },
    Links: strings,
    Aliases: strings,
    MacAddress: "string",
    DriverOpts: stringMap,
    GwPriority: "int",
    NetworkID: "string",
  },
};

const healthcheck: Shape = {
  fields: { Test: strings, Interval: "int", Timeout: "int", StartPeriod: "int", StartInterval: "int", Retries: "int" },
};

/** A `strslice`: one string, or a list of them. It is left to the engine. */
const stringOrList: Shape = "any";

const containerFields = {
  Hostname: "string",
  Domainname: "string",
  User: "string",
  AttachStdin: "bool",
  AttachStdout: "bool",
  AttachStderr: "bool",
  ExposedPorts: { map: { fields: {} } },
  Tty: "bool",
  OpenStdin: "bool",
  StdinOnce: "bool",
  Env: strings,
  Cmd: stringOrList,
  Healthcheck: healthcheck,
  ArgsEscaped: "bool",
  Image: "string",
  Volumes: { map: { fields: {} } },
  WorkingDir: "string",
  Entrypoint: stringOrList,
  NetworkDisabled: "bool",
  MacAddress: "string",
  OnBuild: strings,
  Labels: stringMap,
  StopSignal: "string",
  StopTimeout: "int",
  Shell: strings,
} as const satisfies Record<string, Shape>;

export const containerConfig: Shape = { fields: containerFields };

export const containerCreate: Shape = {
  fields: {
    ...containerFields,
    HostConfig: hostConfig,
    NetworkingConfig: { fields: { EndpointsConfig: { map: endpointSettings } } },
  },
};

export const containerUpdate: Shape = {
  fields: { ...resources, RestartPolicy: restartPolicy, PortBindings: portMap },
};

export const execCreate: Shape = {
  fields: {
    User: "string",
    Privileged: "bool",
    Tty: "bool",
    ConsoleSize: { list: "int" },
    AttachStdin: "bool",
    AttachStderr: "bool",
    AttachStdout: "bool",
    DetachKeys: "string",
    Env: strings,
    WorkingDir: "string",
    Cmd: strings,
  },
};

export const execStart: Shape = { fields: { Detach: "bool", Tty: "bool", ConsoleSize: { list: "int" } } };

export const networkCreate: Shape = {
  fields: {
    Name: "string",
    Driver: "string",
    Scope: "string",
    EnableIPv4: "bool",
    EnableIPv6: "bool",
    IPAM: {
      fields: {
        Driver: "string",
        Options: stringMap,
        Config: {
          list: { fields: { Subnet: "string", IPRange: "string", Gateway: "string", AuxiliaryAddresses: stringMap } },
        },
      },
    },
    Internal: "bool",
    Attachable: "bool",
    Ingress: "bool",
    ConfigOnly: "bool",
    ConfigFrom: { fields: { Network: "string" } },
    Options: stringMap,
    Labels: stringMap,
    CheckDuplicate: "bool",
  },
};

export const networkConnect: Shape = { fields: { Container: "string", EndpointConfig: endpointSettings } };
export const networkDisconnect: Shape = { fields: { Container: "string", Force: "bool" } };

export const volumeCreate: Shape = {
  fields: { Name: "string", Driver: "string", DriverOpts: stringMap, Labels: stringMap, ClusterVolumeSpec: "any" },
};
