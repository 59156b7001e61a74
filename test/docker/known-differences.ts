/**
 * Commands that Gantry does not answer as dockerd 28.5.2 (with containerd 1.7.29 and runc 1.3.3) did when the recording was
 * made, by reason. The list may only shrink, or grow with a new command.
 */

/** Programs, versions and folders are named that are each daemon's own. */
const ownPrograms = [
  "docker load -i $W/bb.tar",
  "docker image inspect all:1 --format '{{json .RootFS}}{{json .GraphDriver.Name}}{{json .RepoDigests}}{{json .DockerVersion}}{{json .Architecture}}{{json .Author}}{{json .Comment}}'",
  "docker version --format '{{range .Server.Components}}{{.Name}} {{end}}'",
  "docker info --format '{{json .Plugins}}'",
  "docker info --format '{{json .Runtimes}} {{.DefaultRuntime}}'",
  "docker info --format '{{json .SecurityOptions}} {{.LoggingDriver}} {{.LiveRestoreEnabled}} {{.Isolation}} {{.InitBinary}} {{.ProductLicense}} {{json .Labels}} {{.ExperimentalBuild}} {{.IndexServerAddress}}'",
  "docker info --format '{{json .GenericResources}} {{json .DefaultAddressPools}} {{json .CDISpecDirs}} {{json .Containerd}} {{json .FirewallBackend}} {{json .DiscoveredDevices}}'",
];

/** The recording's machine shows: it had no route to Docker Hub, and dockerd ran with `--bip` of a /24. */
const surroundings = [
  "docker run --rm --network none nope:1 true",
  "docker run --rm --network none --platform linux/arm64 bb:1 true",
  "docker run --rm --network none --mount type=image,src=nope:9,dst=/i bb:1 true",
  "docker inspect p2 --format '{{json .NetworkSettings.Networks}}'",
];

/** crun links /dev/core to /proc/kcore without looking, and covers files with the machine's /dev/null; runc does neither. */
const runtime = [
  "docker run --rm --network none bb:1 ls /dev",
  "docker run --rm --network none bb:1 sh -c 'mount | cut -d\" \" -f3,5 | sort | head -40'",
  "docker run --rm --network none  bb:1 sh -c 'ls -l /dev | cut -c1-10 | sort | uniq -c'",
];

/** Gantry sets block I/O weights where only the BFQ scheduler has them, too: dockerd does not know its files. */
const blockWeights = [
  "docker create --name cr1 --blkio-weight 300 bb:1 true > $W/id && docker inspect cr1 --format '{{json .HostConfig.BlkioWeight}}'; docker rm -f cr1 > /dev/null 2>&1",
  "docker create --name cr1 --blkio-weight 5 bb:1 true > $W/id && docker inspect cr1 --format '{{json .HostConfig.BlkioWeight}}'; docker rm -f cr1 > /dev/null 2>&1",
  "docker create --name cr1 --blkio-weight 1001 bb:1 true > $W/id && docker inspect cr1 --format '{{json .HostConfig.BlkioWeight}}'; docker rm -f cr1 > /dev/null 2>&1",
  "docker create --name cr1 --blkio-weight-device /dev/nosuch:100 bb:1 true > $W/id && docker inspect cr1 --format '{{json .HostConfig.BlkioWeightDevice}}'; docker rm -f cr1 > /dev/null 2>&1",
  "docker update --cpu-shares 100 --cpuset-cpus 0 --blkio-weight 100 up1 && docker inspect up1 --format '{{.HostConfig.CpuShares}} {{.HostConfig.CpusetCpus}}'",
];

/** dockerd has no order here: it reads links from a map, and tells `stop` before or after `die`, as it happens. */
const noOrder = [
  "docker create --name t2 --link t1:tl --link t1 bb:1 true > /dev/null; docker inspect t2 --format '{{json .HostConfig.Links}}'; docker ps -a --no-trunc --filter name=t1 --format '{{.Names}}'",
  "docker run -d --name ev2 --network none --label evl=1 bb:1 sleep 30 > /dev/null; docker exec ev2 true; docker pause ev2; docker unpause ev2; docker rename ev2 ev3; docker update --cpu-shares 50 ev3 > /dev/null; docker top ev3 > /dev/null; docker cp ev3:/etc/passwd - > /dev/null; docker kill -s WINCH ev3 > /dev/null; docker restart -t 0 ev3 > /dev/null; docker stop -t 0 ev3 > /dev/null; docker export ev3 | wc -c > /dev/null; docker commit ev3 evi:1 > /dev/null; docker start ev3 > /dev/null; docker attach ev3 & sleep 0.3; docker rm -f ev3 > /dev/null; wait; docker rmi evi:1 > /dev/null; sleep 1.1; docker events --since 1m --until 0s --filter label=evl=1 --format '{{.Type}} {{.Action}} {{json .Actor.Attributes}}' | sed 's/\"execDuration\":\"[0-9]*\"/T/'",
];

/** docs/divergences.md says why. */
const divergences = [
  "docker cp $W/d/. f2:/root && docker cp f2:/root/. - | tar -tf - | sort",
  "docker diff f2 | sort",
  "docker create --name cr1 -v :: bb:1 true > $W/id && docker inspect cr1 --format '{{json .Mounts}}'; docker rm -f cr1 > /dev/null 2>&1",
  "docker create --name cr1 -v n:/c bb:1 true > $W/id && docker inspect cr1 --format '{{json .Mounts}}'; docker rm -f cr1 > /dev/null 2>&1",
  "docker run --rm --network none --tmpfs /t:size=x bb:1 true",
  "docker run -d --name pP -P --expose 80 --expose 81/udp bb:1 sleep 50 > /dev/null; docker port pP | sed 's/:[0-9]*$//' | sort; docker rm -f pP",
  "docker swarm init",
];

export const knownDifferences: readonly string[] = [
  ...ownPrograms,
  ...surroundings,
  ...runtime,
  ...blockWeights,
  ...noOrder,
  ...divergences,
];
