/** The process that `crash.test.ts` kills: an engine at work, that says what it has been told is done. */
import { podContainer, podSandbox } from "./test-pods.ts";
import { startEngine } from "./test-engine.ts";

const [base = "", index = "4"] = process.argv.slice(2);
const { engine } = await startEngine({ base, index: Number(index) });
const say = (word: string, name: string): void => void process.stdout.write(`${word} ${name}\n`);

async function worker(number: number): Promise<void> {
  for (let round = 0; ; round++) {
    const name = `w${number}-${round}`;
    await engine.containers.create(name, {
      Image: "gantry/hello",
      Cmd: ["sleep", "1000"],
      Volumes: { "/etc": {} },
      StopSignal: "SIGKILL",
    });
    say("created", name);
    await engine.containers.start(name);
    say("started", name);
    if (round % 3 === 0) continue;
    say("removing", name);
    await engine.containers.remove(name, { force: true, volumes: true });
    say("removed", name);
  }
}

async function podWorker(): Promise<void> {
  const { pods } = engine;
  const image = (await pods.imageStatus("gantry/hello"))?.id ?? "";
  for (let round = 0; ; round++) {
    const sandbox = await pods.runPodSandbox(podSandbox(`p${round}`, base, { shareProcessNamespace: round % 2 === 0 }));
    say("sandbox", sandbox);
    const id = await pods.createContainer(sandbox, podContainer(image));
    await pods.startContainer(id);
    say("pod", sandbox);
    if (round % 2 === 0) continue;
    say("removing", sandbox);
    await pods.removePodSandbox(sandbox);
    say("gone", sandbox);
  }
}

say("ready", "");
await Promise.all([worker(1), worker(2), podWorker()]);
