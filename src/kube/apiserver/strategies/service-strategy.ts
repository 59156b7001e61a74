import type { Service, ServicePort } from "#api/kube/service-types.ts";
import { invalid } from "../api-error.ts";
import type { Mutable, Strategy } from "../resource-type.ts";
import type { WatchCache } from "../watch-cache.ts";
import { Allocator, cidrRange, ipToNumber, numberToIp } from "./address-allocator.ts";

type Spec = NonNullable<Service["spec"]> & {
  ipFamilies?: string[];
  ipFamilyPolicy?: string;
  allocateLoadBalancerNodePorts?: boolean;
};
type ServiceObject = Mutable & { spec?: Spec };

export interface ServiceRanges {
  serviceCidr: string;
  nodePortRange: { from: number; to: number };
}

const kind = { group: "", kind: "Service" };

/**
 * Addresses and node ports of Services. What is taken is what the stored Services say: read once at the
 * start, then kept in step with every write.
 */
export class ServiceStrategy implements Strategy {
  readonly initialStatus = { loadBalancer: {} };
  readonly #cidr: string;
  readonly #ports: { from: number; to: number };
  readonly #addressAllocator: Allocator;
  readonly #portAllocator: Allocator;
  #cache: WatchCache | undefined;

  constructor({ serviceCidr, nodePortRange }: ServiceRanges) {
    const { base, size } = cidrRange(serviceCidr);
    this.#cidr = `${numberToIp(base)}/${serviceCidr.split("/")[1]}`;
    this.#ports = nodePortRange;
    // The lower part is left for addresses that people choose (upstream's static band).
    const band = Math.min(Math.max(16, Math.floor(size / 16)), 256);
    this.#addressAllocator = new Allocator(base + 1, base + size - 2, base + band);
    this.#portAllocator = new Allocator(nodePortRange.from, nodePortRange.to);
  }

  /** Takes over what the stored Services hold. */
  load(cache: WatchCache): void {
    this.#cache = cache;
    for (const { object, namespace, name } of cache.list(""))
      this.#settle(`${namespace}/${name}`, object as ServiceObject);
  }

  admitCreate(object: Mutable): void {
    const service = object as ServiceObject;
    if (service.spec === undefined) return;
    this.#allocate(service);
  }

  admitUpdate(object: Mutable, old: Service): void {
    const service = object as ServiceObject;
    const before = old.spec as Spec | undefined;
    if (service.spec === undefined || before === undefined) return;
    keepAllocated(service.spec, before);
    dropUnfit(service.spec as Record<string, unknown>, before as Record<string, unknown>);
    this.#allocate(service);
  }

  createFailed(object: Service): void {
    this.#settleFromCache(object);
  }

  written(object: Service): void {
    this.#settle(ownerOf(object), object as ServiceObject);
  }

  updateFailed(object: Service): void {
    this.#settleFromCache(object);
  }

  deleted(object: Service): void {
    this.#settle(ownerOf(object), undefined);
  }

  #settleFromCache(object: Service): void {
    const { namespace = "", name = "" } = object.metadata ?? {};
    const stored = this.#cache?.get(this.#cache.keyOf(namespace, name));
    this.#settle(`${namespace}/${name}`, stored?.object as ServiceObject | undefined);
  }

  #settle(owner: string, service: ServiceObject | undefined): void {
    const spec = service?.spec;
    const addresses = (spec?.clusterIPs ?? []).map(ipToNumber).filter((value) => value !== undefined);
    this.#addressAllocator.settle(owner, addresses);
    const ports = (spec?.ports ?? []).map(({ nodePort }) => nodePort).filter((port) => port !== undefined && port > 0);
    if (spec?.healthCheckNodePort) ports.push(spec.healthCheckNodePort);
    this.#portAllocator.settle(owner, ports as number[]);
  }

  #allocate(service: ServiceObject): void {
    const spec = service.spec as Spec;
    const owner = ownerOf(service);
    if (spec.type === "ExternalName") {
      for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] as const)
        delete spec[field];
      for (const port of spec.ports ?? []) delete port.nodePort;
      return;
    }
    this.#allocateAddress(service, owner, spec);
    this.#allocatePorts(service, owner, spec);
  }

  #allocateAddress(service: ServiceObject, owner: string, spec: Spec): void {
    const wanted = spec.clusterIP || spec.clusterIPs?.[0];
    if (spec.ipFamilyPolicy === "RequireDualStack")
      this.#refuse(
        service,
        "spec.ipFamilyPolicy",
        `Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`,
      );
    if (spec.ipFamilies?.[0] === "IPv6")
      this.#refuse(service, "spec.ipFamilies[0]", `Invalid value: "IPv6": not configured on this cluster`);
    spec.ipFamilyPolicy ??= "SingleStack";
    spec.ipFamilies = ["IPv4"];
    if (wanted === "None") {
      spec.clusterIP = "None";
      spec.clusterIPs = ["None"];
      return;
    }
    let address: number;
    if (wanted === undefined) {
      const free = this.#addressAllocator.allocate(owner);
      if (free === undefined)
        this.#refuse(service, "spec.clusterIPs", "Invalid value: []: failed to allocate a serviceIP: range is full");
      address = free as number;
    } else {
      const number = ipToNumber(wanted);
      const value = JSON.stringify([wanted]);
      // What is no address at all is validation's to say.
      if (number === undefined) return;
      if (!this.#addressAllocator.inRange(number))
        this.#refuse(
          service,
          "spec.clusterIPs",
          `Invalid value: ${value}: failed to allocate IP ${wanted}: the provided IP (${wanted}) is not in the valid range. The range of valid IPs is ${this.#cidr}`,
        );
      if (!this.#addressAllocator.claim(owner, number))
        this.#refuse(
          service,
          "spec.clusterIPs",
          `Invalid value: ${value}: failed to allocate IP ${wanted}: provided IP is already allocated`,
        );
      address = number;
    }
    spec.clusterIP = numberToIp(address);
    spec.clusterIPs = [spec.clusterIP];
  }

  #allocatePorts(service: ServiceObject, owner: string, spec: Spec): void {
    const wants =
      spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
    if (!wants && spec.type !== "LoadBalancer") {
      for (const port of spec.ports ?? []) if (port.nodePort === 0) delete port.nodePort;
      delete spec.healthCheckNodePort;
      return;
    }
    // tcp and udp of one number may share a node port within one Service.
    const ownPorts = new Map<number, string[]>();
    (spec.ports ?? []).forEach((port, index) => {
      if (!port.nodePort) return;
      this.#claimPort(service, owner, port.nodePort, `spec.ports[${index}].nodePort`);
      ownPorts.set(port.nodePort, [...(ownPorts.get(port.nodePort) ?? []), port.protocol ?? "TCP"]);
    });
    if (wants) {
      for (const port of spec.ports ?? []) {
        if (port.nodePort) continue;
        const shared = sharedPort(spec.ports ?? [], port);
        const free = shared ?? this.#portAllocator.allocate(owner);
        if (free === undefined)
          this.#refuse(service, "spec.ports", "Internal error: failed to allocate a nodePort: range is full");
        port.nodePort = free as number;
      }
    }
    if (spec.type !== "LoadBalancer" || spec.externalTrafficPolicy !== "Local") {
      delete spec.healthCheckNodePort;
      return;
    }
    if (spec.healthCheckNodePort) this.#claimPort(service, owner, spec.healthCheckNodePort, "spec.healthCheckNodePort");
    else {
      const free = this.#portAllocator.allocate(owner);
      if (free !== undefined) spec.healthCheckNodePort = free;
    }
  }

  #claimPort(service: ServiceObject, owner: string, port: number, field: string): void {
    if (!this.#portAllocator.inRange(port))
      this.#refuse(
        service,
        field,
        `Invalid value: ${port}: provided port is not in the valid range. The range of valid ports is ${this.#ports.from}-${this.#ports.to}`,
      );
    if (!this.#portAllocator.claim(owner, port))
      this.#refuse(service, field, `Invalid value: ${port}: provided port is already allocated`);
  }

  #refuse(service: ServiceObject, field: string, message: string): never {
    this.#settleFromCache(service);
    throw invalid(kind, service.metadata?.name ?? "", [{ reason: "FieldValueInvalid", field, message }]);
  }
}

function ownerOf(service: { metadata?: { namespace?: string; name?: string } }): string {
  return `${service.metadata?.namespace ?? ""}/${service.metadata?.name ?? ""}`;
}

/** A port of the same number and another protocol that has a node port already. */
function sharedPort(ports: ServicePort[], port: ServicePort): number | undefined {
  return ports.find(
    (other) =>
      other !== port &&
      other.port === port.port &&
      (other.protocol ?? "TCP") !== (port.protocol ?? "TCP") &&
      other.nodePort,
  )?.nodePort;
}

/** What an update leaves out stays as it was allocated. */
function keepAllocated(spec: Spec, before: Spec): void {
  const needsAddress = (type: string | undefined): boolean => type !== "ExternalName";
  if (needsAddress(spec.type) && needsAddress(before.type)) {
    if (!spec.clusterIP && before.clusterIP !== undefined) spec.clusterIP = before.clusterIP;
    if (!spec.clusterIPs?.length && before.clusterIPs !== undefined && spec.clusterIP === before.clusterIP)
      spec.clusterIPs = before.clusterIPs;
    spec.ipFamilyPolicy ??= before.ipFamilyPolicy ?? "SingleStack";
  }
  const needsPort = (type: string | undefined): boolean => type === "NodePort" || type === "LoadBalancer";
  if (!needsPort(spec.type)) {
    // Ports that the old Service had, and that nobody changed, are given back.
    if (needsPort(before.type)) {
      const old = new Set((before.ports ?? []).map(({ nodePort }) => nodePort));
      for (const port of spec.ports ?? []) if (old.has(port.nodePort)) delete port.nodePort;
    }
    return;
  }
  if (!needsPort(before.type)) return;
  const known = new Map((before.ports ?? []).map((port) => [`${port.protocol ?? "TCP"}/${port.port}`, port.nodePort]));
  const used = new Set((spec.ports ?? []).map(({ nodePort }) => nodePort));
  for (const port of spec.ports ?? []) {
    const old = known.get(`${port.protocol ?? "TCP"}/${port.port}`);
    if (!port.nodePort && old !== undefined && !used.has(old)) port.nodePort = old;
  }
  if (!spec.healthCheckNodePort && before.healthCheckNodePort) spec.healthCheckNodePort = before.healthCheckNodePort;
}

/** Takes away what the old type needed and the new one may not have, when the client left it as it was. */
function dropUnfit(spec: Record<string, unknown>, before: Record<string, unknown>): void {
  const { type } = spec;
  const isOutside =
    type === "LoadBalancer" || type === "NodePort" || ((spec["externalIPs"] as unknown[] | undefined)?.length ?? 0) > 0;
  const drop = (name: string): void => {
    if (spec[name] === before[name]) delete spec[name];
  };
  if (!isOutside) drop("externalTrafficPolicy");
  if (type !== "LoadBalancer")
    for (const name of ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"]) drop(name);
  if (type === "ExternalName") drop("internalTrafficPolicy");
}
