import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hasCode } from "#base/errors.ts";
import { type KubeObject, ref } from "#api/kube/object.ts";
import { createHttpClient } from "#kube/client/http-client.ts";
import { createCertificateAuthority, createSigningKey, issueCertificate } from "#web/tls.ts";

const configMaps = ref("configmaps");

test(
  "a killed API server loses nothing that it acknowledged, and watchers miss nothing",
  { timeout: 60_000 },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), "gantry-crash-"));
    const authority = await createCertificateAuthority({ commonName: "ca", days: 1 });
    const serving = await issueCertificate(authority, {
      commonName: "s",
      ipAddresses: ["127.0.0.1"],
      usages: ["server"],
      days: 1,
    });
    const admin = await issueCertificate(authority, {
      commonName: "a",
      organizations: ["system:masters"],
      usages: ["client"],
      days: 1,
    });
    const options = join(directory, "options.json");
    const signingKey = createSigningKey().privatePem;
    let port = 0;

    async function start(): Promise<ChildProcess> {
      await writeFile(
        options,
        JSON.stringify({ path: join(directory, "store"), port, authority, serving, signingKey }),
      );
      const child = spawn(process.execPath, [join(import.meta.dirname, "crash-server.ts"), options], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const [line] = await new Promise<[Buffer]>((resolve, reject) => {
        child.stdout?.once("data", (data: Buffer) => resolve([data]));
        child.once("exit", () => reject(new Error("the server ended")));
      });
      port = Number(line.toString());
      return child;
    }

    let child = await start();
    const client = await createHttpClient({
      server: `https://127.0.0.1:${port}`,
      ca: authority.certPem,
      cert: admin.certPem,
      key: admin.keyPem,
    });
    const stop = new AbortController();
    try {
      const acknowledged = new Set<string>();
      const seen = new Set<string>();
      let position = (await client.list(configMaps)).metadata.resourceVersion ?? "";
      const watching = (async () => {
        while (!stop.signal.aborted) {
          try {
            for await (const { object } of client.watch(configMaps, {
              resourceVersion: position,
              signal: stop.signal,
            })) {
              position = object.metadata?.resourceVersion ?? position;
              seen.add(object.metadata?.name ?? "");
            }
          } catch (error) {
            // A restarted server may have forgotten the past, and says so: list again, as informers do.
            if (!hasCode(error, "gone", "unavailable")) throw error;
            if (hasCode(error, "gone")) {
              const list = await client.list(configMaps);
              for (const { metadata } of list.items) seen.add(metadata?.name ?? "");
              position = list.metadata.resourceVersion ?? "";
            }
          }
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      })();
      for (let round = 0; round < 3; round++) {
        let writing = true;
        const writers = Array.from({ length: 6 }, async (_, writer) => {
          for (let n = 0; writing; n++) {
            const name = `r${round}-w${writer}-n${n}`;
            try {
              await client.create(configMaps, {
                apiVersion: "v1",
                kind: "ConfigMap",
                metadata: { name, namespace: "default" },
              } as KubeObject);
              acknowledged.add(name);
            } catch {
              return;
            }
          }
        });
        await new Promise((resolve) => setTimeout(resolve, 300 + round * 100));
        const exited = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await exited;
        writing = false;
        await Promise.all(writers);
        child = await start();
      }
      assert.ok(acknowledged.size > 100, `only ${acknowledged.size} writes were acknowledged`);
      const there = new Set(
        (await client.list(configMaps, { namespace: "default" })).items.map(({ metadata }) => metadata?.name ?? ""),
      );
      for (const name of acknowledged) assert.ok(there.has(name), `${name} was lost`);
      for (let wait = 0; wait < 100 && [...there].some((name) => !seen.has(name)); wait++)
        await new Promise((resolve) => setTimeout(resolve, 50));
      assert.deepEqual(
        [...there].filter((name) => !seen.has(name)),
        [],
        "the watch missed none",
      );
      stop.abort();
      await watching;
    } finally {
      stop.abort();
      await client.close();
      const exited = new Promise((resolve) => child.once("exit", resolve));
      if (child.kill("SIGKILL")) await exited;
      await rm(directory, { recursive: true, force: true });
    }
  },
);
