/**
 * Runs a command in a fresh copy of this repository, inside a Debian of its own under QEMU: systemd as process 1, pure
 * cgroup v2, a shared root and AppArmor, which a development machine may lack. There is no network inside.
 *
 *     node test/vm/run.ts [--work folder] [--keep] [--cpus 2] [--memory 3G] [--timeout minutes] [--with folder] [-- command]
 *
 * The command goes to a shell, as root; without one it is `./gantry test`. Its output and exit code are the runner's.
 * One that ends with 100 is run again after a reboot; GANTRY_VM_BOOT counts. Needs Debian's qemu-system-x86,
 * debootstrap and e2fsprogs. `--keep` leaves the machine's image in the work folder for the next run; `--with` takes
 * one more folder along, into the repository.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { run } from "../critest/look-alikes.ts";
import { type MachineImage, imageLabel, machineImage } from "./image.ts";

const project = join(import.meta.dirname, "../..");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    work: { type: "string", default: "/tmp/gantry-vm" },
    keep: { type: "boolean", default: false },
    cpus: { type: "string", default: "2" },
    memory: { type: "string", default: "3G" },
    timeout: { type: "string", default: "60" },
    with: { type: "string" },
  },
});
const { work } = values;
const exitFile = join(work, "exit");
const consoleLog = join(work, "console.log");

/** The repository as it is here, changes included, with its npm packages and the command: a tar file used as a disk. */
function packRepository(target: string, command: string): void {
  const files = run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: project })
    .split("\0")
    .filter((path) => path !== "" && path !== "node_modules" && existsSync(join(project, path)));
  const staging = join(work, "staging");
  mkdirSync(staging, { recursive: true });
  writeFileSync(join(staging, ".vm-command"), `${command}\n`);
  writeFileSync(join(staging, "files"), files.join("\0"));
  const modules = realpathSync(join(project, "node_modules"));
  const parts = [
    ["-cf", target, "-C", staging, ".vm-command"],
    ["-C", project, "--null", "-T", join(staging, "files")],
    ["--exclude=node_modules/.cache", "-C", join(modules, ".."), "node_modules"],
  ];
  if (values.with !== undefined) parts.push(["-C", dirname(resolve(values.with)), basename(values.with)]);
  run("tar", parts.flat());
  rmSync(staging, { recursive: true });
}

function qemuArguments(image: MachineImage, repository: string): string[] {
  // The module kvm_pvm emulates the kernel of a guest that was not made for it, which takes longer than QEMU's way.
  const hasKvm = existsSync("/dev/kvm") && !existsSync("/sys/module/kvm_pvm");
  return [
    ["-accel", hasKvm ? "kvm" : "tcg", "-cpu", hasKvm ? "host" : "max", "-smp", values.cpus, "-m", values.memory],
    ["-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-serial", `file:${consoleLog}`],
    ["-kernel", image.kernel, "-initrd", image.initrd],
    ["-append", `root=LABEL=${imageLabel} rw console=ttyS0 quiet systemd.show_status=no`],
    // What is written goes to a temporary file that QEMU removes.
    ["-drive", `file=${image.root},format=raw,if=virtio,snapshot=on`],
    ["-drive", `file=${repository},format=raw,if=none,readonly=on,id=repository`],
    ["-device", "virtio-blk-pci,drive=repository,serial=repository"],
    ["-device", "virtio-serial-pci"],
    ["-chardev", "stdio,id=output,signal=off", "-device", "virtserialport,chardev=output,name=output"],
    ["-chardev", `file,id=exit,path=${exitFile}`, "-device", "virtserialport,chardev=exit,name=exit"],
  ].flat();
}

/** Boots the machine and waits until it is off. Resolves with the command's exit code. */
function boot(image: MachineImage, repository: string): Promise<number> {
  rmSync(exitFile, { force: true });
  return new Promise((resolve, reject) => {
    const child = spawn("qemu-system-x86_64", qemuArguments(image, repository), {
      // Where stdin ends, QEMU takes the output's reader to be gone, and the machine waits for it.
      stdio: ["pipe", "inherit", "inherit"],
      env: { ...process.env, TMPDIR: work },
    });
    const stop = (): void => void child.kill();
    const timer = setTimeout(stop, Number(values.timeout) * 60_000);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
    child.once("error", reject);
    child.once("exit", () => {
      clearTimeout(timer);
      const text = existsSync(exitFile) ? readFileSync(exitFile, "utf8").trim() : "";
      if (text !== "") resolve(Number(text));
      else reject(new Error(`The machine went off before the command ended: ${tailOf(consoleLog)}`));
    });
  });
}

function tailOf(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8").slice(-2000) : "it wrote nothing to its console";
}

mkdirSync(work, { recursive: true });
const repository = join(work, "repository.tar");
try {
  for (const program of ["qemu-system-x86_64", "debootstrap", "mkfs.ext4"]) {
    if (spawnSync(program, ["--version"], { stdio: "ignore" }).error === undefined) continue;
    throw new Error(
      "Programs are missing: apt-get install --no-install-recommends qemu-system-x86 debootstrap e2fsprogs",
    );
  }
  const image = machineImage(work);
  packRepository(repository, positionals.length > 0 ? positionals.join(" ") : "./gantry test");
  process.exitCode = await boot(image, repository);
} finally {
  if (values.keep) rmSync(repository, { force: true });
  else rmSync(work, { recursive: true, force: true });
}
