import type { ProcessPlan } from "#api/container-runtime.ts";
import type { ExecCreateBody } from "#api/docker/container-types.ts";
import { availableCapabilities } from "./capabilities.ts";
import type { Container } from "./container.ts";
import { environment, processPlan } from "./launch-plan.ts";
import { resolveUser } from "./passwd.ts";

/** What a command in a running container runs as. */
export function execPlan(
  container: Container,
  rootfs: string,
  body: ExecCreateBody,
  linkEnv: string[] = [],
): ProcessPlan {
  const base = processPlan({ container, rootfs, linkEnv });
  const spec = body.User || container.record.Config.User || "";
  const user = resolveUser(
    rootfs,
    spec,
    container.hostConfig.GroupAdd ?? [],
    container.record.Gantry.pod?.strictGroups,
  );
  const env = [...(container.record.Config.Env ?? []), ...(body.Env ?? [])];
  const size = body.ConsoleSize ?? [];
  const { consoleSize: _size, ...rest } = base;
  return {
    ...rest,
    args: [...(body.Cmd ?? [])],
    uid: user.uid,
    gid: user.gid,
    additionalGids: user.additionalGids,
    tty: body.Tty === true,
    cwd: body.WorkingDir || base.cwd,
    env: environment(env, {
      hostname: container.record.Config.Hostname ?? "",
      tty: body.Tty === true,
      home: user.home,
      linkEnv,
    }),
    capabilities: body.Privileged === true ? availableCapabilities() : base.capabilities,
    ...((size[0] ?? 0) > 0 ? { consoleSize: [size[0] as number, size[1] as number] as const } : {}),
  };
}
