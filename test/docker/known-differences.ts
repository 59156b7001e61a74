/**
 * Commands that Gantry does not answer as dockerd 20.10 did when the recording was made, by reason. The list
 * may only shrink, or grow with a new command.
 */

/** The text is that of Docker Engine 28, whose API this is; 20.10 worded it otherwise. */
const wordsOf28 = [
  "docker image inspect nope:1",
  "docker save nope:1 -o $W/no.tar",
  "docker load -i $W/bb.tar",
  "echo junk | docker load",
  "docker run --rm --network none bb:1 nosuchcommand",
  "docker run --rm --network none bb:1 /tmp",
  "docker run --rm --network none --dns 9.9.9.9 --dns-search x.y bb:1 cat /etc/resolv.conf",
  "docker run --rm --network none --cpus 1000 bb:1 true",
  "docker run --rm --network none bb:1 sh -c 'mount | cut -d\" \" -f3,5 | sort | head -40'",
  "docker run --rm --network none --stop-signal NOPE bb:1 true",
  "docker run --rm --network none --isolation hyperv bb:1 true",
  "docker run --rm --network none --log-driver nosuch bb:1 true",
  "docker run --rm --network none --runtime nosuch bb:1 true",
  "docker ps --filter nosuch=1",
  "docker ps --filter status=nosuch",
  "docker exec c1 nosuchcommand",
  "docker exec -w /nosuch c1 pwd",
  "docker inspect --type image c1",
  "docker inspect c1 --format '{{json .HostConfig}}'",
  "docker pause c2",
  "docker unpause c2",
  "docker exec c2 true",
  "docker kill -s NOPE c2",
  "docker kill -s USR2 nosuch",
  "docker update --restart nosuch c2",
  "docker rm c2",
  "docker kill c2",
  "docker volume create p1 > /dev/null; docker volume prune -af",
  "docker network create --subnet 10.199.7.0/25 n3",
  "docker network create --subnet nonsense n3",
  "docker network create --driver nosuch n3",
  "docker run --rm --network n2 --ip 9.9.9.9 bb:1 true",
  "docker run --rm --ip 172.30.99.9 bb:1 true",
  "docker network disconnect n1 w1",
  "docker network rm n2",
  "docker events --since 1h --until 0s --filter nosuch=1",
];

/** The machine or the moment of the recording shows. */
const surroundings = [
  // The recording began with images of an earlier run; Gantry brings gantry/hello.
  "docker images --format '{{.Repository}}:{{.Tag}}'",
  "docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}'",
  // No route to Docker Hub: which of its errors comes depends on the machine.
  "docker run --rm --network none nope:1 true",
  // The recording daemon was in a sandbox without all capabilities.
  "docker run --rm --network none --privileged bb:1 sh -c 'grep Seccomp: /proc/self/status'",
  // A path of the daemon's own.
  "docker inspect c1 --format '{{json .NetworkSettings}}'",
  // crun links /dev/core to a file that this kernel does not have; runc looks first.
  "docker run --rm --network none bb:1 ls /dev",
];

/** Differs by will or for want of work: docs/divergences.md says why. */
const divergences = [
  // tini is not among what Gantry installs.
  "docker run --rm --network none --init bb:1 sh -c 'cat /proc/1/comm'",
  // No volume mount and unmount events yet.
  "docker events --since 1h --until 0s --format '{{.Type}} {{.Action}}' --filter type=volume | sort | uniq -c | head -3",
  "docker swarm init",
];

export const knownDifferences: readonly string[] = [...wordsOf28, ...surroundings, ...divergences];
