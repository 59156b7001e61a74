import { type DifferentialCommand, command, created, ran, unordered } from "./command.ts";

/** Networks: create, inspect, connect, links, names, ports, and what is refused of them. */
export const networkCommands: readonly DifferentialCommand[] = [
  unordered("docker network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'"),
  command(
    "docker network create n1 > /dev/null; docker network inspect n1 --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.EnableIPv6}} {{len .IPAM.Config}}'",
  ),
  command("docker network create n1"),
  command(
    "docker network create --subnet 10.199.7.0/24 --gateway 10.199.7.254 n2 > /dev/null; docker network inspect n2 --format '{{json .IPAM}}'",
  ),
  command("docker network create --subnet 10.199.7.0/25 n3"),
  command("docker network create --subnet nonsense n3"),
  command("docker network create --driver nosuch n3"),
  command("docker network inspect nosuch"),
  command("docker network rm nosuch"),
  command("docker network rm bridge"),
  command(
    "docker run -d --name w1 --network n2 --ip 10.199.7.7 --network-alias al bb:1 sleep 50 > /dev/null; docker inspect w1 --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.IPPrefixLen}} {{.Gateway}}{{end}}'",
  ),
  command("docker run --rm --network n2 --ip 10.199.7.7 bb:1 true"),
  command("docker run --rm --network n2 --ip 9.9.9.9 bb:1 true"),
  command("docker run --rm --ip 172.30.99.9 bb:1 true"),
  command("docker exec w1 cat /etc/resolv.conf | head -1"),
  command("docker network connect n1 w1; docker inspect w1 --format '{{len .NetworkSettings.Networks}}'"),
  command("docker network connect n1 w1"),
  command("docker network disconnect n1 w1; docker inspect w1 --format '{{len .NetworkSettings.Networks}}'"),
  command("docker network disconnect n1 w1"),
  command("docker network rm n2"),
  command("docker network inspect n2 --format '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}'"),
  command("docker rm -f w1; docker network rm n1 n2"),
  command(
    "docker run -d --name p1 -p 127.0.0.1:18391:80 bb:1 sleep 50 > /dev/null; docker port p1; docker ps --format '{{.Ports}}'",
  ),
  command(
    "docker run --rm -p 127.0.0.1:18391:80 bb:1 true 2>&1 | grep -o 'port is already allocated'; docker ps -aq --filter status=created | wc -l",
  ),
  command("docker port p1 81"),
  command("docker rm -f p1"),
  command("docker network create x1 > /dev/null; docker network prune -f"),
  command(
    "docker network create --driver bridge --subnet 10.199.7.0/24 --ip-range 10.199.7.128/25 --gateway 10.199.7.1 --aux-address a=10.199.7.130 --label l=1 --opt com.docker.network.bridge.name=gxdiff0 --opt com.docker.network.driver.mtu=1400 --internal --attachable m1 > /dev/null; docker network inspect m1 --format '{{json .IPAM}} {{json .Options}} {{json .Labels}} {{.Internal}} {{.Attachable}} {{.Ingress}} {{.EnableIPv4}} {{.EnableIPv6}} {{json .ConfigFrom}} {{.ConfigOnly}} {{json .Containers}}'; docker network rm m1",
  ),
  command(
    "docker network create --ipv6 --subnet 10.199.7.0/24 --subnet fd00:199:7::/64 m6 > /dev/null; docker network inspect m6 --format '{{json .IPAM.Config}} {{.EnableIPv6}}'; docker run --rm --network m6 --ip6 fd00:199:7::9 bb:1 sh -c 'ip -6 addr show eth0 | grep -o fd00[^\" \"]*; ip -6 route | grep -c default'",
  ),
  command(
    "docker run -d --name c6 --network m6 --ip 10.199.7.8 bb:1 sleep 50 > /dev/null; docker inspect c6 --format '{{json .NetworkSettings.Networks}}'; docker rm -f c6; docker network rm m6",
  ),
  command(
    "docker network create --ipv6 m6 > /dev/null; docker network inspect m6 --format '{{len .IPAM.Config}}'; docker network rm m6",
  ),
  command(
    "docker network create --ipv4=false --ipv6 --subnet fd00:199:8::/64 m6 > /dev/null; docker network inspect m6 --format '{{.EnableIPv4}} {{json .IPAM.Config}}'; docker network rm m6",
  ),
  command("docker network create --ipv4=false m4"),
  command("docker network create --subnet fd00:199:8::/64 m4; docker network rm m4"),
  command("docker network create --subnet 10.199.7.0/24 --subnet 10.199.8.0/24 m4; docker network rm m4"),
  command("docker network create --subnet 10.199.7.9/24 m4; docker network rm m4"),
  command("docker network create --subnet 10.199.7.0/24 --gateway 10.199.9.1 m4"),
  command("docker network create --subnet 10.199.7.0/24 --ip-range 10.199.9.0/24 m4"),
  command("docker network create --gateway 10.199.7.1 m4"),
  command("docker network create --subnet 10.199.7.0/24 --aux-address a=10.199.9.1 m4"),
  command("docker network create --subnet 10.199.7.0/33 m4"),
  command("docker network create --subnet 10.199.7.0/31 m4; docker network rm m4"),
  command("docker network create --ipam-driver nosuch m4"),
  command(
    "docker network create --ipam-opt a=b m4 > /dev/null; docker network inspect m4 --format '{{json .IPAM.Options}}'; docker network rm m4",
  ),
  command("docker network create --driver host m4"),
  command("docker network create --driver null m4"),
  command("docker network create --driver overlay m4"),
  command("docker network create --scope swarm m4"),
  command("docker network create --ingress m4"),
  command("docker network create bridge"),
  command("docker network create host"),
  command("docker network create ''"),
  command("docker network create 'bad name'"),
  command("docker network create -o com.docker.network.bridge.enable_icc=nonsense m4"),
  command(
    "docker network create -o com.docker.network.bridge.enable_ip_masquerade=false -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 m4 > /dev/null; docker network inspect m4 --format '{{json .Options}}'; docker network rm m4",
  ),
  command("docker network create -o com.docker.network.bridge.host_binding_ipv4=nonsense m4"),
  command("docker network create -o com.docker.network.driver.mtu=nonsense m4"),
  command("docker network create -o com.docker.network.bridge.gateway_mode_ipv4=nonsense m4"),
  command(
    "docker network create --config-only --subnet 10.199.9.0/24 conf > /dev/null; docker network inspect conf --format '{{.ConfigOnly}} {{.Driver}} {{json .IPAM.Config}}'; docker network create --config-from conf fromconf > /dev/null; docker network inspect fromconf --format '{{json .ConfigFrom}} {{json .IPAM.Config}}'; docker network rm fromconf conf",
  ),
  command("docker network create --config-from nosuch m4"),
  // Listing.
  command(
    "docker network create --label nl=1 m5 > /dev/null; docker network ls --filter label=nl=1 --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.IPv6}} {{.Labels}}'",
  ),
  command("docker network ls --filter name=m5 -q | wc -l"),
  command("docker network ls --filter driver=null --format '{{.Name}}'"),
  command("docker network ls --filter type=custom --format '{{.Name}}'"),
  command("docker network ls --filter type=builtin --format '{{.Name}}' | sort"),
  command("docker network ls --filter type=nosuch"),
  command("docker network ls --filter scope=local --format '{{.Name}}' | sort"),
  command("docker network ls --filter scope=nosuch"),
  command("docker network ls --filter dangling=true --format '{{.Name}}'"),
  command("docker network ls --filter dangling=x"),
  command("docker network ls --filter nosuch=1"),
  command("docker network ls --filter id=$(docker network inspect m5 --format '{{.Id}}') --format '{{.Name}}'"),
  command("docker network ls --no-trunc -q --filter name=m5"),
  command(
    'docker network inspect bridge --format \'{{json .Options}}\' | sed \'s/"com.docker.network.bridge.name":"[^"]*"//\'',
  ),
  command(
    "docker network inspect host none --format '{{.Name}} {{.Driver}} {{json .IPAM}} {{json .Options}} {{json .Labels}}'",
  ),
  command("docker network inspect -v m5 --format '{{.Name}}'"),
  command("docker network rm m5; docker network rm -f nosuch; docker network rm host none"),
  // Addresses and names.
  command(
    "docker network create --subnet 10.199.7.0/24 n7 > /dev/null; docker network create --subnet 10.199.8.0/24 n8 > /dev/null; docker run -d --name e1 --network n7 --ip 10.199.7.20 --network-alias al1 --network-alias al2 --mac-address 02:42:0a:c7:07:14 -h eh bb:1 sleep 200 > /dev/null; docker inspect e1 --format '{{json .NetworkSettings.Networks}} {{json .NetworkSettings.IPAddress}} {{json .Config.MacAddress}}'",
  ),
  command(
    'docker exec e1 sh -c \'ip -4 addr show eth0 | awk "/inet /{print \\$2}"; cat /sys/class/net/eth0/address; ip route | cut -d" " -f1-3; cat /etc/hosts | tail -1\'',
  ),
  command("docker exec e1 cat /etc/resolv.conf | grep -v '^# '"),
  command(
    "docker run --rm --network n7 bb:1 sh -c 'for n in e1 al1 al2 eh; do nslookup $n 127.0.0.11 2>/dev/null | grep -c 10.199.7.20; done'",
  ),
  command(
    "docker run --rm --network name=n7,ip=10.199.7.30,alias=x,mac-address=02:42:0a:c7:07:1e bb:1 sh -c 'ip -4 addr show eth0 | awk \"/inet /{print \\$2}\"; cat /sys/class/net/eth0/address'",
  ),
  command("docker run --rm --network n7 --network n8 bb:1 sh -c 'ls /sys/class/net | grep -c eth'"),
  command("docker run --rm --network n7 --network none bb:1 true"),
  command("docker run --rm --network n7 --network host bb:1 true"),
  command("docker run --rm --network n7 --network n7 bb:1 true"),
  command(
    "docker run --rm --network name=n7,gw-priority=1 --network n8 bb:1 sh -c 'ip route | grep default | grep -o \"10[^ ]*\"'",
  ),
  command(
    "docker run --rm --network name=n8 --network name=n7,gw-priority=1,driver-opt=com.docker.network.endpoint.ifname=foo0 bb:1 sh -c 'ls /sys/class/net | sort; ip route | grep default | grep -o \"10[^ ]*\"'",
  ),
  command(
    "docker run --rm --network name=n7,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1 bb:1 cat /proc/sys/net/ipv4/conf/eth0/log_martians",
  ),
  command("docker run --rm --network name=n7,nosuch=1 bb:1 true"),
  command(
    "docker run --rm --network n7 --link-local-ip 169.254.9.9 bb:1 sh -c 'ip -4 addr show eth0 | grep -c 169.254.9.9'",
  ),
  command("docker run --rm --network n7 --mac-address nonsense bb:1 true"),
  command("docker run --rm --network n7 --ip nonsense bb:1 true"),
  command("docker run --rm --network n7 --ip 10.199.7.1 bb:1 true"),
  command("docker run --rm --network n7 --ip 10.199.7.20 bb:1 true"),
  command("docker run --rm --network n7 --ip6 fd00::1 bb:1 true"),
  command("docker run --rm --network host --ip 1.2.3.4 bb:1 true"),
  command("docker run --rm --network none --ip 1.2.3.4 bb:1 true"),
  command("docker run --rm --network none --network-alias x bb:1 true"),
  command("docker run --rm --network host --network-alias x bb:1 true"),
  command("docker run --rm --network-alias x bb:1 true"),
  command("docker run --rm --network host --mac-address 02:42:0a:c7:07:14 bb:1 true"),
  command("docker run --rm --network bridge --mac-address 02:42:0a:c7:07:14 bb:1 cat /sys/class/net/eth0/address"),
  command("docker run --rm --network host -p 80:80 bb:1 true"),
  command("docker run --rm --network none -p 80:80 bb:1 true"),
  command("docker run --rm --network host -P --expose 80 bb:1 true"),
  // Links.
  command(
    "docker run -d --name t1 -e TENV=1 --expose 80 bb:1 sleep 100 > /dev/null; docker run --rm --name tlc --link t1:tl bb:1 sh -c 'env | grep TL_ | sort; grep -c tl /etc/hosts'",
  ),
  command(
    "docker create --name t2 --link t1:tl --link t1 bb:1 true > /dev/null; docker inspect t2 --format '{{json .HostConfig.Links}}'; docker ps -a --no-trunc --filter name=t1 --format '{{.Names}}'",
  ),
  command("docker rm -l t2/tl; docker inspect t2 --format '{{json .HostConfig.Links}}'; docker rm t2"),
  command("docker run --rm --link nosuch:x bb:1 true"),
  command("docker run --rm --link t1:a:b bb:1 true"),
  command("docker run --rm --network host --link t1:x bb:1 true"),
  command("docker run --rm --network none --link t1:x bb:1 true"),
  command(
    "docker run --rm --network n7 --link e1:linked bb:1 sh -c 'nslookup linked 127.0.0.11 2>/dev/null | grep -c 10.199.7.20; grep -c linked /etc/hosts'",
  ),
  command(
    "docker create --name t3 --network n7 --link e1:linked bb:1 true > /dev/null; docker inspect t3 --format '{{json .HostConfig.Links}} {{json .NetworkSettings.Networks.n7.Links}}'; docker rm t3",
  ),
  command("docker rm -f t1"),
  // Connecting.
  command(
    "docker network connect --ip 10.199.8.44 --alias ca --link e1:cl --driver-opt com.docker.network.endpoint.ifname=bar0 n8 e1; docker inspect e1 --format '{{json .NetworkSettings.Networks.n8}}'; docker exec e1 sh -c 'ls /sys/class/net | sort'",
  ),
  command(
    "docker network inspect n8 --format '{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.IPv6Address}}{{end}}'",
  ),
  command("docker network disconnect n8 e1; docker exec e1 sh -c 'ls /sys/class/net | sort'"),
  command("docker network connect --ip 10.199.7.44 n8 e1"),
  command("docker network connect --ip nonsense n8 e1"),
  command(
    "docker network connect --gw-priority 5 n8 e1; docker inspect e1 --format '{{.NetworkSettings.Networks.n8.GwPriority}}'; docker network disconnect n8 e1",
  ),
  command("docker network connect n8 nosuch"),
  command("docker network connect nosuch e1"),
  command("docker network connect host e1"),
  command("docker network connect none e1"),
  command("docker network disconnect n8 e1"),
  command("docker network disconnect nosuch e1"),
  command("docker network disconnect n8 nosuch"),
  command("docker network disconnect -f n8 nosuch"),
  command(
    "docker create --name e2 --network n7 bb:1 sleep 50 > /dev/null; docker network connect --ip 10.199.8.50 n8 e2; docker inspect e2 --format '{{json .NetworkSettings.Networks.n8}}'; docker start e2; docker inspect e2 --format '{{.NetworkSettings.Networks.n8.IPAddress}}'",
  ),
  command("docker run -d --name e3 --network n8 --link e1:late bb:1 sleep 50"),
  command("docker rm -f e3"),
  command(
    "docker run -d --name e4 --network host bb:1 sleep 50 > /dev/null; docker network connect n8 e4; docker network disconnect host e4; docker rm -f e4",
  ),
  command(
    "docker run -d --name e5 --network none bb:1 sleep 50 > /dev/null; docker network connect n8 e5; docker network disconnect none e5; docker network connect n8 e5; docker exec e5 sh -c 'ip -4 addr show eth0 | grep -c 10.199.8'; docker rm -f e5",
  ),
  command(
    "docker rename e2 e2b; docker run --rm --network n7 bb:1 sh -c 'nslookup e2b 127.0.0.11 > /dev/null 2>&1; echo $?; nslookup e2 127.0.0.11 > /dev/null 2>&1; echo $?'",
  ),
  command("docker network rm n7 n8"),
  command(
    "docker network disconnect n7 e1; docker exec e1 ls /sys/class/net; docker inspect e1 --format '{{json .NetworkSettings.Networks}}'",
  ),
  command("docker rm -f e1 e2b; docker network rm n7 n8"),
  command(
    "docker run -d --name ev --network bridge bb:1 sleep 50 > /dev/null; docker network create nev > /dev/null; docker network connect nev ev; docker network disconnect nev ev; docker network rm nev > /dev/null; docker rm -f ev > /dev/null; sleep 1.1; docker events --since 1m --until 0s --filter network=nev --format '{{.Action}} {{json .Actor.Attributes}}'",
  ),
  // Publishing.
  created(
    "-p 8080:80 -p 127.0.0.1:8081:81/udp -p 90 -p 8100-8101:100-101",
    "HostConfig.PortBindings",
    "Config.ExposedPorts",
  ),
  created("-p 70000:80", "HostConfig.PortBindings"),
  created("-p 80:70000", "HostConfig.PortBindings"),
  created("-p x:80", "HostConfig.PortBindings"),
  created("-p 80:80/nosuch", "HostConfig.PortBindings"),
  created("-p 10-12:10-11", "HostConfig.PortBindings"),
  created("-p 1.2.3:80:80", "HostConfig.PortBindings"),
  created("-p [::1]:18396:80", "HostConfig.PortBindings"),
  created("-p :80", "HostConfig.PortBindings"),
  command(
    "docker run -d --name pp -p 18394:80 -p 127.0.0.1:18395:81/udp -p [::1]:18396:82 --expose 99 bb:1 sleep 50 > /dev/null; docker port pp | sort; docker port pp 80; docker port pp 81/udp; docker inspect pp --format '{{json .NetworkSettings.Ports}}'; docker ps --format '{{.Ports}}' --filter name=pp",
  ),
  command("docker port pp 99"),
  command("docker port pp nonsense"),
  command(
    "docker run --name pq -p 18394:80 bb:1 true 2>&1 | grep -o 'Bind for.*'; docker inspect pq --format '{{.State.Status}} {{.State.ExitCode}} {{json .State.Error}}' | sed 's/endpoint [a-z0-9 ().]*/E/'; docker rm pq",
  ),
  command(
    "docker stop -t 0 pp; docker port pp; docker inspect pp --format '{{json .NetworkSettings.Ports}} {{json .NetworkSettings.Networks}}'; docker rm pp",
  ),
  command(
    "docker run -d --name pP -P --expose 80 --expose 81/udp bb:1 sleep 50 > /dev/null; docker port pP | sed 's/:[0-9]*$//' | sort; docker rm -f pP",
  ),
  command(
    "docker run -d --name pr -p 18400-18402:80 bb:1 sleep 50 > /dev/null; docker port pr | sed 's/:1840[0-2]$/:1840x/'; docker rm -f pr",
  ),
  // Pruning.
  command(
    "docker network create --label pl=1 x1 > /dev/null; docker network prune -f --filter label!=pl; docker network prune -f --filter label=pl=1",
  ),
  command("docker network prune -f --filter until=nonsense"),
  command("docker network prune -f --filter nosuch=1"),
  ran("", "sh -c 'ls /sys/class/net'"),
];
