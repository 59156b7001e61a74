import { isIP } from "node:net";
import type { Service } from "../generated/types.ts";
import { cidr, dnsLabel, dnsSubdomain, portNumber, qualifiedName } from "./names.ts";
import { validatePortNumberOrName } from "./container.ts";
import { validateLabels } from "./object-meta.ts";
import type { Problems } from "./problems.ts";
import { sameJson } from "./same-json.ts";

const ipMessage = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

function validatePorts(problems: Problems, spec: NonNullable<Service["spec"]>): void {
  const ports = spec.ports ?? [];
  const names = new Set<string>();
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  for (const [at, port] of ports.entries()) {
    const here = `spec.ports[${at}]`;
    if (ports.length > 1 && !port.name) problems.required(`${here}.name`);
    else if (port.name) {
      problems.invalidEach(`${here}.name`, port.name, dnsLabel(port.name));
      if (names.has(port.name)) problems.duplicate(`${here}.name`, port.name);
      names.add(port.name);
    }
    problems.invalidEach(`${here}.port`, port.port ?? 0, portNumber(port.port));
    validatePortNumberOrName(problems, `${here}.targetPort`, port.targetPort);
    if (port.appProtocol !== undefined)
      problems.invalidEach(`${here}.appProtocol`, port.appProtocol, qualifiedName(port.appProtocol));
    if (port.nodePort) {
      if (spec.type === "ClusterIP")
        problems.forbidden(`${here}.nodePort`, "may not be used when `type` is 'ClusterIP'");
      const key = `${port.protocol}/${port.nodePort}`;
      if (nodePorts.has(key)) problems.duplicate(`${here}.nodePort`, port.nodePort);
      nodePorts.add(key);
    }
    const key = `${port.protocol}/${port.port}`;
    if (numbers.has(key))
      problems.duplicate(here, {
        Name: "",
        Protocol: port.protocol,
        AppProtocol: null,
        Port: port.port,
        TargetPort: 0,
        NodePort: 0,
      });
    numbers.add(key);
  }
}

function validateAffinity(problems: Problems, spec: NonNullable<Service["spec"]>): void {
  const config = spec.sessionAffinityConfig;
  if (spec.sessionAffinity === "None" && config !== undefined)
    problems.forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None");
  const timeout = config?.clientIP?.timeoutSeconds;
  if (spec.sessionAffinity === "ClientIP" && timeout !== undefined && (timeout <= 0 || timeout > 86400))
    problems.invalid(
      "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
      timeout,
      "must be greater than 0 and less than 86400",
    );
}

function validateTraffic(problems: Problems, spec: NonNullable<Service["spec"]>): void {
  const external =
    spec.type === "LoadBalancer" ||
    spec.type === "NodePort" ||
    (spec.type === "ClusterIP" && (spec.externalIPs ?? []).length > 0);
  if (spec.externalTrafficPolicy && !external)
    problems.invalid(
      "spec.externalTrafficPolicy",
      spec.externalTrafficPolicy,
      "may only be set for externally-accessible services",
    );
  const needsCheck = spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
  if (spec.healthCheckNodePort && !needsCheck)
    problems.invalid(
      "spec.healthCheckNodePort",
      spec.healthCheckNodePort,
      "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
    );
  if (spec.type !== "LoadBalancer") {
    if ((spec.loadBalancerSourceRanges ?? []).length > 0)
      problems.forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'");
    if (spec.allocateLoadBalancerNodePorts !== undefined)
      problems.forbidden("spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'");
    if (spec.loadBalancerClass !== undefined)
      problems.forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'");
  }
  const distribution = ["PreferClose", "PreferSameZone", "PreferSameNode"];
  if (spec.trafficDistribution !== undefined && !distribution.includes(spec.trafficDistribution))
    problems.notSupported("spec.trafficDistribution", spec.trafficDistribution, distribution);
}

/** Upstream's ValidateServiceCreate and ValidateServiceUpdate. Addresses and node ports are checked where they are given out. */
export function validateService(problems: Problems, service: Service, old: Service | undefined): void {
  const { spec } = service;
  if (spec === undefined) return problems.required("spec");
  const headless = spec.clusterIP === "None";
  if ((spec.ports ?? []).length === 0 && !headless && spec.type !== "ExternalName") problems.required("spec.ports");
  if (headless && (spec.type === "NodePort" || spec.type === "LoadBalancer"))
    problems.invalid("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${spec.type} services`);
  if (spec.type === "ExternalName") {
    if (spec.clusterIP) problems.forbidden("spec.clusterIPs", "may not be set for ExternalName services");
    const name = (spec.externalName ?? "").replace(/\.$/, "");
    if (name === "") problems.required("spec.externalName");
    else problems.invalidEach("spec.externalName", name, dnsSubdomain(name));
  }
  validatePorts(problems, spec);
  validateLabels(problems, "spec.selector", spec.selector);
  validateAffinity(problems, spec);
  if (spec.clusterIP && !headless && isIP(spec.clusterIP) === 0)
    problems.invalid("spec.clusterIPs[0]", spec.clusterIP, ipMessage);
  for (const [at, address] of (spec.externalIPs ?? []).entries()) {
    const here = `spec.externalIPs[${at}]`;
    if (isIP(address) === 0) problems.invalid(here, address, ipMessage);
    else if (/^(?:127\.|169\.254\.|::1$|0\.0\.0\.0$|224\.0\.0\.)/.test(address))
      problems.invalid(
        here,
        address,
        address.startsWith("127.") || address === "::1"
          ? "may not be in the loopback range (127.0.0.0/8, ::1/128)"
          : address.startsWith("0")
            ? "may not be unspecified (0.0.0.0 or ::)"
            : address.startsWith("169")
              ? "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
              : "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
      );
  }
  for (const [at, range] of (spec.loadBalancerSourceRanges ?? []).entries())
    problems.invalidEach(`spec.LoadBalancerSourceRanges[${at}]`, range.trim(), cidr(range.trim()));
  validateTraffic(problems, spec);
  const before = old?.spec;
  if (before === undefined) return;
  const keepsAddress = before.type !== "ExternalName" && spec.type !== "ExternalName";
  if (keepsAddress && before.clusterIP && spec.clusterIP !== before.clusterIP)
    problems.invalid(
      "spec.clusterIPs[0]",
      spec.clusterIP === undefined ? null : [spec.clusterIP],
      "may not change once set",
    );
  if (
    before.type === "LoadBalancer" &&
    spec.type === "LoadBalancer" &&
    !sameJson(before.loadBalancerClass, spec.loadBalancerClass)
  )
    problems.invalid("spec.loadBalancerClass", spec.loadBalancerClass ?? null, "may not change once set");
}
