import { type DifferentialCommand, command, statusOnly } from "./command.ts";

/** The daemon itself: version, info, disk usage, events, pruning, and what needs a swarm. */
export const systemCommands: readonly DifferentialCommand[] = [
  statusOnly("docker version", "names its own version"),
  statusOnly("docker info", "names the machine and its own version"),
  command("docker system df --format '{{.Type}}'"),
  command(
    "docker events --since 1h --until 0s --format '{{.Type}} {{.Action}}' --filter type=volume | sort | uniq -c | head -3",
  ),
  command("docker events --since 1m --until 0s --filter nosuch=1 --filter type=nosuch"),
  command("docker swarm init"),
  command("docker service ls"),
  command("docker node ls"),
  command("docker plugin ls"),
  command("docker login -u a -p b localhost:1"),
  command("docker system prune -f | tail -1 | cut -d: -f1"),
  command("docker ps -a | wc -l"),
  command(
    "docker version --format '{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}} {{.Server.Arch}} {{.Server.Experimental}}'",
  ),
  command("docker version --format '{{range .Server.Components}}{{.Name}} {{end}}'"),
  command("docker info --format '{{.Driver}} {{.CgroupDriver}} {{.CgroupVersion}} {{.OSType}} {{.Architecture}}'"),
  command(
    "docker info --format '{{.MemoryLimit}} {{.SwapLimit}} {{.CPUCfsPeriod}} {{.CPUCfsQuota}} {{.CPUShares}} {{.CPUSet}} {{.PidsLimit}} {{.IPv4Forwarding}} {{.OomKillDisable}}'",
  ),
  command("docker info --format '{{json .Plugins}}'"),
  command("docker info --format '{{json .Swarm}}'"),
  command("docker info --format '{{json .RegistryConfig}}'"),
  command("docker info --format '{{json .Runtimes}} {{.DefaultRuntime}}'"),
  command(
    "docker info --format '{{json .SecurityOptions}} {{.LoggingDriver}} {{.LiveRestoreEnabled}} {{.Isolation}} {{.InitBinary}} {{.ProductLicense}} {{json .Labels}} {{.ExperimentalBuild}} {{.IndexServerAddress}}'",
  ),
  command("docker info --format '{{json .DriverStatus}}'"),
  command("docker info --format '{{json .Warnings}}'"),
  command(
    "docker info --format '{{json .GenericResources}} {{json .DefaultAddressPools}} {{json .CDISpecDirs}} {{json .Containerd}} {{json .FirewallBackend}} {{json .DiscoveredDevices}}'",
  ),
  command("docker info --format '{{.Nosuch}}'"),
  command(
    "docker volume create dfv > /dev/null; docker create --name dfc --network none -v dfv:/v bb:1 true > /dev/null; docker system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'",
  ),
  command(
    "docker system df -v --format '{{range .Containers}}{{.Names}} {{.State}} {{.LocalVolumes}} {{.Size}}{{end}}'",
  ),
  command("docker system df -v --format '{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}{{end}}'"),
  command(
    "docker system df -v --format '{{range .Images}}{{.Repository}} {{.Containers}}{{\"\\n\"}}{{end}}' | grep bb",
  ),
  command("docker rm dfc; docker volume rm dfv"),
  command("docker system prune -f --filter until=nonsense"),
  command("docker system prune -f --filter label=nosuch=1"),
  command("docker system prune -f --volumes | tail -1 | cut -d: -f1"),
  command("docker builder prune -f"),
  command("docker events --since 1h --until 0s --filter type=daemon --format '{{.Action}}'"),
  command("docker events --until nonsense"),
  command(
    "sleep 1.1; docker network prune -f > /dev/null; docker volume prune -f > /dev/null; docker container prune -f > /dev/null; docker image prune -f > /dev/null; sleep 1.1; docker events --since 1m --until 0s --filter event=prune --format '{{.Type}} {{.Action}} {{json .Actor.Attributes}}' | sed 's/[0-9][0-9]*/N/' | grep -v builder | sort -u",
  ),
  command("docker stack ls"),
  command("docker secret ls"),
  command("docker config ls"),
  command("docker swarm leave"),
  command("docker swarm join-token worker"),
  command("docker swarm ca"),
  command("docker service create bb:1"),
  command("docker node inspect self"),
  command("docker plugin inspect nosuch"),
  command("docker plugin rm nosuch"),
  command("docker plugin enable nosuch"),
  command("docker checkpoint ls nosuch"),
  command("docker inspect nosuch1 nosuch2"),
  command("docker nosuch"),
];
