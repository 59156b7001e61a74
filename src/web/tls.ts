import { generateKeyPairSync, randomBytes, webcrypto, X509Certificate as NodeCertificate } from "node:crypto";
import { isIP } from "node:net";
import type * as X509 from "@peculiar/x509";

/** A certificate with its private key (PKCS #8), both PEM. ECDSA P-256. */
export interface CertificatePair {
  certPem: string;
  keyPem: string;
}

export interface CertificateRequest {
  commonName: string;
  organizations?: readonly string[];
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
  usages: readonly ("server" | "client")[];
  days: number;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256" };
const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" };
const dayMs = 24 * 60 * 60 * 1000;
/** Clocks of two machines differ. */
const backdateMs = 5 * 60 * 1000;

async function loadX509(): Promise<typeof X509> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto as Crypto);
  return x509;
}

function subject(commonName: string, organizations: readonly string[] = []): Record<string, string[]>[] {
  return [...organizations.map((name) => ({ O: [name] })), { CN: [commonName] }];
}

function serialNumber(): string {
  const bytes = randomBytes(16);
  // Positive and of full length (RFC 5280, 4.1.2.2).
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - backdateMs), notAfter: new Date(now + days * dayMs) };
}

function pem(label: string, der: ArrayBuffer): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

async function exportKey(key: CryptoKey): Promise<string> {
  return pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", key as webcrypto.CryptoKey));
}

interface KeyPair {
  privateKey: CryptoKey;
  publicKey: CryptoKey;
}

async function newKeys(): Promise<KeyPair> {
  return (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as KeyPair;
}

async function importKey(keyPem: string): Promise<CryptoKey> {
  const der = Buffer.from(keyPem.replaceAll(/-----[A-Z ]+-----|\s/g, ""), "base64");
  return (await webcrypto.subtle.importKey("pkcs8", der, algorithm, true, ["sign"])) as CryptoKey;
}

/** A self-signed certificate authority, valid from five minutes ago. */
export async function createCertificateAuthority(options: {
  commonName: string;
  organizations?: readonly string[];
  days: number;
}): Promise<CertificatePair> {
  const x509 = await loadX509();
  const keys = await newKeys();
  const usages = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: subject(options.commonName, options.organizations),
    ...validity(options.days),
    signingAlgorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(usages, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: `${certificate.toString("pem")}\n`, keyPem: await exportKey(keys.privateKey) };
}

/** A new key and its certificate, signed by `authority`. */
export async function issueCertificate(
  authority: CertificatePair,
  request: CertificateRequest,
): Promise<CertificatePair> {
  const keys = await newKeys();
  const certPem = await sign(authority, keys.publicKey, request);
  return { certPem, keyPem: await exportKey(keys.privateKey) };
}

/**
 * A certificate for the key of a PKCS #10 request in PEM, as certificate signing requests carry it. Subject
 * and names are `request`'s, not the PKCS #10 one's: the caller has approved them.
 */
export async function signCertificateRequest(
  authority: CertificatePair,
  csrPem: string,
  request: CertificateRequest,
): Promise<string> {
  const x509 = await loadX509();
  return sign(authority, new x509.Pkcs10CertificateRequest(csrPem).publicKey, request);
}

async function sign(
  authority: CertificatePair,
  publicKey: CryptoKey | X509.PublicKey,
  request: CertificateRequest,
): Promise<string> {
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(authority.certPem);
  const names: { type: "dns" | "ip"; value: string }[] = [];
  for (const value of request.dnsNames ?? []) names.push({ type: "dns", value });
  for (const value of request.ipAddresses ?? []) if (isIP(value) !== 0) names.push({ type: "ip", value });
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const extensions = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
    new x509.ExtendedKeyUsageExtension(request.usages.map((usage) => (usage === "server" ? serverAuth : clientAuth))),
    await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: subject(request.commonName, request.organizations),
    issuer: issuer.subject,
    ...validity(request.days),
    signingAlgorithm,
    publicKey,
    signingKey: await importKey(authority.keyPem),
    extensions,
  });
  return `${certificate.toString("pem")}\n`;
}

/** A P-256 key pair for signing tokens (ES256), PKCS #8 and SPKI PEM. */
export function createSigningKey(): { privatePem: string; publicPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  return { privatePem: privateKey, publicPem: publicKey };
}

/** When the first certificate in `certPem` ends, milliseconds since the epoch. */
export function certificateExpiry(certPem: string): number {
  return Date.parse(new NodeCertificate(certPem).validTo);
}
