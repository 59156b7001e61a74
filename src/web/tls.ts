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

/** A self-signed certificate authority, valid from five minutes ago. */
export declare function createCertificateAuthority(options: {
  commonName: string;
  organizations?: readonly string[];
  days: number;
}): Promise<CertificatePair>;

/** A new key and its certificate, signed by `authority`. */
export declare function issueCertificate(
  authority: CertificatePair,
  request: CertificateRequest,
): Promise<CertificatePair>;

/** A P-256 key pair for signing tokens (ES256), PKCS #8 and SPKI PEM. */
export declare function createSigningKey(): { privatePem: string; publicPem: string };

/** When the first certificate in `pem` ends, milliseconds since the epoch. */
export declare function certificateExpiry(pem: string): number;
