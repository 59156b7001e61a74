import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { writeFileAtomicSync } from "#host/files.ts";
import {
  type CertificatePair,
  type CertificateRequest,
  certificateExpiry,
  createCertificateAuthority,
  createSigningKey,
  issueCertificate,
} from "#web/tls.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { instancePaths } from "./instance-paths.ts";

/** Names of the pairs in the pki folder: `<name>.crt` and `<name>.key`. */
export type CertificateName =
  | "ca"
  | "apiserver"
  | "apiserver-kubelet-client"
  | "admin"
  | "node"
  | "kubelet"
  | "proxy"
  | "dns";

const year = 365;
const caDays = 10 * year;
/** A certificate that ends within so many days is made anew on start. */
const renewDays = 30;

/** The first address of the service range: the `kubernetes` service's. */
export function apiServiceIp(serviceCidr: string): string {
  const [base] = serviceCidr.split("/") as [string];
  const parts = base.split(".").map(Number) as [number, number, number, number];
  return [...parts.slice(0, 3), parts[3] + 1].join(".");
}

function machineAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((entry) => !entry.internal && !entry.address.startsWith("fe80:"))
    .map((entry) => entry.address);
}

function requests(config: InstanceConfig): Record<Exclude<CertificateName, "ca">, CertificateRequest> {
  const client = { usages: ["client"], days: year } as const;
  const services = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    `kubernetes.default.svc.${config.clusterDomain}`,
  ];
  return {
    apiserver: {
      commonName: "kube-apiserver",
      dnsNames: ["localhost", config.nodeName, ...services],
      ipAddresses: [...new Set(["127.0.0.1", "::1", apiServiceIp(config.serviceCidr), ...machineAddresses()])],
      usages: ["server"],
      days: year,
    },
    "apiserver-kubelet-client": {
      commonName: "kube-apiserver-kubelet-client",
      organizations: ["system:masters"],
      ...client,
    },
    admin: { commonName: "kubernetes-admin", organizations: ["system:masters"], ...client },
    node: { commonName: `system:node:${config.nodeName}`, organizations: ["system:nodes"], ...client },
    kubelet: {
      commonName: `system:node:${config.nodeName}`,
      organizations: ["system:nodes"],
      dnsNames: ["localhost", config.nodeName],
      ipAddresses: [...new Set(["127.0.0.1", "::1", ...machineAddresses()])],
      usages: ["server"],
      days: year,
    },
    proxy: { commonName: "system:kube-proxy", ...client },
    dns: { commonName: "system:coredns", ...client },
  };
}

export class Pki {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  path(name: CertificateName, part: "crt" | "key"): string {
    return join(this.#folder, `${name}.${part}`);
  }

  pair(name: CertificateName): CertificatePair {
    return {
      certPem: readFileSync(this.path(name, "crt"), "utf8"),
      keyPem: readFileSync(this.path(name, "key"), "utf8"),
    };
  }

  get caPem(): string {
    return readFileSync(this.path("ca", "crt"), "utf8");
  }

  /** The key that signs service-account tokens. */
  get tokenKey(): { privatePem: string; publicPem: string } {
    return {
      privatePem: readFileSync(join(this.#folder, "sa.key"), "utf8"),
      publicPem: readFileSync(join(this.#folder, "sa.pub"), "utf8"),
    };
  }

  has(name: CertificateName): boolean {
    return existsSync(this.path(name, "crt")) && existsSync(this.path(name, "key"));
  }

  write(name: CertificateName, pair: CertificatePair): void {
    // The key first: a certificate without its key would read as complete.
    writeFileAtomicSync(this.path(name, "key"), pair.keyPem, { mode: 0o600 });
    writeFileAtomicSync(this.path(name, "crt"), pair.certPem, { mode: 0o644 });
  }
}

function isCurrent(pki: Pki, name: CertificateName): boolean {
  if (!pki.has(name)) return false;
  return certificateExpiry(readFileSync(pki.path(name, "crt"), "utf8")) > Date.now() + renewDays * 86_400_000;
}

/**
 * Makes what is missing of the instance's authority, certificates and token key, and renews what is about to
 * expire. Safe to repeat; never replaces the authority.
 */
export async function ensurePki(config: InstanceConfig): Promise<Pki> {
  const folder = instancePaths(config).pki;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const pki = new Pki(folder);
  if (!pki.has("ca"))
    pki.write("ca", await createCertificateAuthority({ commonName: `gantry-${config.name}`, days: caDays }));
  if (!existsSync(join(folder, "sa.pub"))) {
    const { privatePem, publicPem } = createSigningKey();
    writeFileAtomicSync(join(folder, "sa.key"), privatePem, { mode: 0o600 });
    writeFileAtomicSync(join(folder, "sa.pub"), publicPem, { mode: 0o644 });
  }
  const missing = Object.entries(requests(config)).filter(([name]) => !isCurrent(pki, name as CertificateName));
  if (missing.length > 0) {
    const authority = pki.pair("ca");
    await Promise.all(
      missing.map(async ([name, request]) =>
        pki.write(name as CertificateName, await issueCertificate(authority, request)),
      ),
    );
  }
  return pki;
}
