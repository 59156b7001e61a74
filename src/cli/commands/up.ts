import { connect } from "node:net";
import { resolve as resolvePath } from "node:path";
import { GantryError } from "#base/errors.ts";
import { startDaemon } from "#daemon/daemon-process.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { type DaemonName, daemonNames, defaultRoot, instancePaths } from "#daemon/instance-paths.ts";
import { loadOrCreateInstance, setConfigFile, writeRootReadme } from "#daemon/instance-store.ts";
import { machineAddresses } from "../addresses.ts";
import { daemonProgram } from "../daemon-program.ts";
import { requireRoot } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";
import { KubeRequester } from "../kube-request.ts";
import { mergeUserKubeconfig, writeAdminKubeconfig } from "../kubeconfig-files.ts";
import { Progress, formatDuration } from "../progress.ts";
import { runningDaemons, waitUntil } from "../readiness.ts";
import { deploySample, sampleAddress, sampleIsReady, sampleWasDeployed } from "../sample.ts";
import { installPackages, missingPackages } from "../system-packages.ts";

interface UpOptions extends InstanceOptions {
  demo: boolean;
  switch: boolean;
  timeout: number;
  configFile?: string;
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function apiIsReady(kube: KubeRequester): Promise<boolean> {
  try {
    return (await kube.send("GET", "/readyz")).status === 200;
  } catch {
    return false;
  }
}

interface NodeConditions {
  status?: { conditions?: { type: string; status: string }[] };
}

interface NodeLease {
  spec?: { renewTime?: string };
}

/**
 * True when the node is Ready and its lease is newer than `notBefore`: after a restart the Node object still
 * says what was true before. The lease tells in microseconds; heartbeats of conditions in whole seconds.
 */
async function nodeIsReady(config: InstanceConfig, kube: KubeRequester, notBefore: number): Promise<boolean> {
  const [node, lease] = await Promise.all([
    kube.send("GET", `/api/v1/nodes/${config.nodeName}`),
    kube.send("GET", `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${config.nodeName}`),
  ]);
  const ready = (node.body as NodeConditions).status?.conditions?.find((condition) => condition.type === "Ready");
  const renewed = Date.parse((lease.body as NodeLease).spec?.renewTime ?? "");
  return node.status === 200 && ready?.status === "True" && renewed >= notBefore;
}

/** `--name` and `--root` as this instance needs them on a command line; nothing for the default one. */
function instanceArguments(config: InstanceConfig): string {
  const name = config.name === "default" ? "" : ` --name ${config.name}`;
  return config.root === defaultRoot(config.name) ? name : `${name} --root ${config.root}`;
}

async function printWhatNext(config: InstanceConfig, kube: KubeRequester): Promise<void> {
  const lines: string[] = [];
  const page = await sampleAddress(kube);
  if (page !== undefined) {
    const others = machineAddresses().map((address) => page.replace("127.0.0.1", address));
    lines.push("", `  sample page   ${[page, ...others].join("  ")}`);
  }
  lines.push(
    "",
    "  Next, in this shell:",
    `    eval "$(./gantry env${instanceArguments(config)})"`,
    "    docker run --rm gantry/hello echo hi",
    "    kubectl get pods -o wide",
  );
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Remembers `--config-file`, and says here what is wrong with a daemon.json, rather than in a log. */
async function withDaemonJson(
  known: InstanceConfig,
  configFile: string | undefined,
  isRunning: boolean,
): Promise<InstanceConfig> {
  const { daemonJsonPath } = await import("#daemon/daemon-json.ts");
  const { checkDaemonJson } = await import("#daemon/daemon-json-apply.ts");
  const wanted = configFile === undefined ? known : { ...known, configFile: resolvePath(configFile) };
  if (isRunning) {
    if (daemonJsonPath(wanted) === daemonJsonPath(known)) return known;
    throw new GantryError(
      "conflict",
      `Gantry "${known.name}" runs with ${daemonJsonPath(known)}. To use another file, run \`gantry down\` first.`,
    );
  }
  const { warnings } = await checkDaemonJson(wanted);
  for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`);
  return configFile === undefined ? known : setConfigFile(known, resolvePath(configFile));
}

/** `gantry up`: installs, starts, waits, deploys the sample, says what it did. Safe to run again. */
export async function up(options: UpOptions): Promise<void> {
  requireRoot("up");
  const started = performance.now();
  const progress = new Progress();
  const missing = missingPackages();
  if (missing.length > 0) await progress.step(`install ${missing.join(", ")}`, () => installPackages(missing));

  const known = loadOrCreateInstance(options.name, options.root);
  const { created } = known;
  const before = runningDaemons(known.config);
  const config = await withDaemonJson(known.config, options.configFile, before.node !== undefined);
  const wasUp = daemonNames.every((name) => before[name] !== undefined);
  if (wasUp) {
    const kube = new KubeRequester(config);
    try {
      if ((await apiIsReady(kube)) && (await answers(config.dockerSocket))) {
        process.stdout.write(`Gantry "${config.name}" is up already; nothing was changed.\n`);
        await printWhatNext(config, kube);
        return;
      }
    } finally {
      kube.close();
    }
  }
  process.stdout.write(`Starting Gantry "${config.name}" (data in ${config.root})\n`);
  if (created) writeRootReadme(config);
  const { ensurePki } = await import("#daemon/pki.ts");
  await progress.step("certificates", () => ensurePki(config));
  await start(config, options, before, progress);
  process.stdout.write(`\nGantry "${config.name}" is up, in ${formatDuration(performance.now() - started)}.\n`);
  const kube = new KubeRequester(config);
  try {
    await printWhatNext(config, kube);
  } finally {
    kube.close();
  }
}

async function start(
  config: InstanceConfig,
  options: UpOptions,
  before: Partial<Record<DaemonName, number>>,
  progress: Progress,
): Promise<void> {
  const startedAt = Date.now();
  const pids = { ...before };
  const program = daemonProgram();
  for (const name of daemonNames) pids[name] ??= startDaemon(config, name, program);
  const kube = new KubeRequester(config);
  const wait = (what: string, check: () => Promise<boolean>): Promise<void> =>
    waitUntil(config, what, options.timeout, pids, check);
  try {
    await progress.step("API server", () => wait("The API server", () => apiIsReady(kube)));
    await writeAdminKubeconfig(config);
    await mergeUserKubeconfig(config, { makeCurrent: options.switch });
    await progress.step("container engine", () => wait("The container engine", () => answers(config.dockerSocket)));
    const notBefore = before.node === undefined ? startedAt : 0;
    await progress.step(`node ${config.nodeName} Ready`, () =>
      wait(`The node ${config.nodeName}`, () => nodeIsReady(config, kube, notBefore)),
    );
    if (options.demo && !sampleWasDeployed(config)) {
      await progress.step("sample application", async () => {
        await deploySample(config, kube);
        await wait("The sample application", () => sampleIsReady(kube));
      });
    }
  } catch (error) {
    if (error instanceof GantryError && error.code === "unavailable")
      progress.note(`Logs are in ${instancePaths(config).logs}.`);
    throw error;
  } finally {
    kube.close();
  }
}
