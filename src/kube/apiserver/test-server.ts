/** An API server for tests: on loopback, with its own authority, over a given or a new store in memory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, type Logger } from "#base/log.ts";
import { createHttpClient, type HttpKubeClient } from "#kube/client/http-client.ts";
import { kubeconfigFor, writeKubeconfig } from "#kube/client/kubeconfig.ts";
import { openMemoryStore } from "#store/memory.ts";
import type { Store } from "#store/store.ts";
import { type CertificatePair, createCertificateAuthority, createSigningKey, issueCertificate } from "#web/tls.ts";
import type { ApiServer, ApiServerOptions } from "./api-server.ts";
import { createApiServer } from "./create.ts";

export interface TestServer {
  server: ApiServer;
  store: Store;
  authority: CertificatePair;
  /** Of `system:masters`. */
  kubeconfigPath: string;
  directory: string;
  adminToken: string;
  /** A client over HTTPS as the given user. */
  clientFor(commonName: string, organizations?: string[]): Promise<HttpKubeClient>;
  stop(): Promise<void>;
}

export async function startTestServer(
  given: {
    store?: Store;
    log?: Logger;
    options?: Partial<ApiServerOptions>;
    authority?: CertificatePair;
    signingKey?: string;
    withNodeClient?: boolean;
  } = {},
): Promise<TestServer> {
  const store = given.store ?? openMemoryStore();
  const authority = given.authority ?? (await createCertificateAuthority({ commonName: "test-ca", days: 1 }));
  const serving = await issueCertificate(authority, {
    commonName: "kube-apiserver",
    dnsNames: ["localhost", "kubernetes.default.svc"],
    ipAddresses: ["127.0.0.1"],
    usages: ["server"],
    days: 1,
  });
  const nodeClient =
    given.withNodeClient === true
      ? await issueCertificate(authority, {
          commonName: "kube-apiserver-kubelet-client",
          organizations: ["system:masters"],
          usages: ["client"],
          days: 1,
        })
      : undefined;
  const adminToken = "test-admin-token";
  const server = createApiServer(
    {
      listen: [{ host: "127.0.0.1", port: 0 }],
      serviceCidr: "10.103.0.0/16",
      nodePortRange: { from: 30000, to: 32767 },
      adminToken,
      ...given.options,
    },
    {
      store,
      log: given.log ?? silentLogger,
      tls: { cert: serving.certPem, key: serving.keyPem, clientCa: authority.certPem },
      serviceAccountKeys: { privateKey: given.signingKey ?? createSigningKey().privatePem },
      ...(nodeClient === undefined
        ? {}
        : { nodeClient: { cert: nodeClient.certPem, key: nodeClient.keyPem, ca: authority.certPem } }),
    },
  );
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  const directory = await mkdtemp(join(tmpdir(), "gantry-apiserver-"));
  const admin = await issueCertificate(authority, {
    commonName: "admin",
    organizations: ["system:masters"],
    usages: ["client"],
    days: 1,
  });
  const kubeconfigPath = join(directory, "kubeconfig");
  await writeKubeconfig(
    kubeconfigPath,
    kubeconfigFor({
      instance: "test",
      server: server.url,
      caPem: authority.certPem,
      certPem: admin.certPem,
      keyPem: admin.keyPem,
    }),
  );
  const clients: HttpKubeClient[] = [];
  return {
    server,
    store,
    authority,
    kubeconfigPath,
    directory,
    adminToken,
    async clientFor(commonName, organizations = []) {
      const { certPem, keyPem } = await issueCertificate(authority, {
        commonName,
        organizations,
        usages: ["client"],
        days: 1,
      });
      const client = await createHttpClient({ server: server.url, ca: authority.certPem, cert: certPem, key: keyPem });
      clients.push(client);
      return client;
    },
    async stop() {
      for (const client of clients) await client.close();
      await server.stop();
      if (given.store === undefined) await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
