// Run by crash.test.ts as a process of its own, to be killed: an API server over SQLite on a given port.
import { readFileSync } from "node:fs";
import { silentLogger } from "#base/log.ts";
import { openSqliteStore } from "#store/sqlite.ts";
import type { CertificatePair } from "#web/tls.ts";
import { createApiServer } from "./create.ts";

interface CrashServerOptions {
  path: string;
  port: number;
  authority: CertificatePair;
  serving: CertificatePair;
  signingKey: string;
}

const { path, port, authority, serving, signingKey } = JSON.parse(
  readFileSync(process.argv[2] as string, "utf8"),
) as CrashServerOptions;
const server = createApiServer(
  { listen: [{ host: "127.0.0.1", port }], serviceCidr: "10.103.0.0/16", nodePortRange: { from: 30000, to: 32767 } },
  {
    store: openSqliteStore({ path }),
    log: silentLogger,
    tls: { cert: serving.certPem, key: serving.keyPem, clientCa: authority.certPem },
    serviceAccountKeys: { privateKey: signingKey },
  },
);
await server.start();
process.stdout.write(`${server.port}\n`);
