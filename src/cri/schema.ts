/**
 * CRI v1 (k8s.io/cri-api v0.36, package `runtime.v1`) as data: names, types and field numbers. Windows' messages
 * are left out: unknown fields are skipped. Field names are in camel case, since only numbers go over the wire.
 */

/** One enumeration per line (two spaces continue it): its name, then its values from 0 up. */
export const enums = `
Protocol TCP UDP SCTP
MountPropagation PROPAGATION_PRIVATE PROPAGATION_HOST_TO_CONTAINER PROPAGATION_BIDIRECTIONAL
NamespaceMode POD CONTAINER NODE TARGET
SupplementalGroupsPolicy Merge Strict
ProfileType RuntimeDefault Unconfined Localhost
PodSandboxState SANDBOX_READY SANDBOX_NOTREADY
Signal RUNTIME_DEFAULT SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT
  SIGKILL SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGSEGV SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP
  SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIGRTMIN SIGRTMINPLUS1 SIGRTMINPLUS2
  SIGRTMINPLUS3 SIGRTMINPLUS4 SIGRTMINPLUS5 SIGRTMINPLUS6 SIGRTMINPLUS7 SIGRTMINPLUS8 SIGRTMINPLUS9
  SIGRTMINPLUS10 SIGRTMINPLUS11 SIGRTMINPLUS12 SIGRTMINPLUS13 SIGRTMINPLUS14 SIGRTMINPLUS15 SIGRTMAXMINUS14
  SIGRTMAXMINUS13 SIGRTMAXMINUS12 SIGRTMAXMINUS11 SIGRTMAXMINUS10 SIGRTMAXMINUS9 SIGRTMAXMINUS8 SIGRTMAXMINUS7
  SIGRTMAXMINUS6 SIGRTMAXMINUS5 SIGRTMAXMINUS4 SIGRTMAXMINUS3 SIGRTMAXMINUS2 SIGRTMAXMINUS1 SIGRTMAX
ContainerState CONTAINER_CREATED CONTAINER_RUNNING CONTAINER_EXITED CONTAINER_UNKNOWN
ContainerEventType CONTAINER_CREATED_EVENT CONTAINER_STARTED_EVENT CONTAINER_STOPPED_EVENT
  CONTAINER_DELETED_EVENT
MetricType COUNTER GAUGE
CgroupDriver SYSTEMD CGROUPFS
`;

/** One message per line: its name, then `field:type=number`; `[]` is repeated, `map` is from string to string. */
export const messages = `
VersionRequest version:string=1
VersionResponse version:string=1 runtimeName:string=2 runtimeVersion:string=3 runtimeApiVersion:string=4
DNSConfig servers:string[]=1 searches:string[]=2 options:string[]=3
PortMapping protocol:Protocol=1 containerPort:int32=2 hostPort:int32=3 hostIp:string=4
Mount containerPath:string=1 hostPath:string=2 readonly:bool=3 selinuxRelabel:bool=4
  propagation:MountPropagation=5 uidMappings:IDMapping[]=6 gidMappings:IDMapping[]=7 recursiveReadOnly:bool=8
  image:ImageSpec=9 imageSubPath:string=10
IDMapping hostId:uint32=1 containerId:uint32=2 length:uint32=3
UserNamespace mode:NamespaceMode=1 uids:IDMapping[]=2 gids:IDMapping[]=3
NamespaceOption network:NamespaceMode=1 pid:NamespaceMode=2 ipc:NamespaceMode=3 targetId:string=4
  usernsOptions:UserNamespace=5
Int64Value value:int64=1
LinuxSandboxSecurityContext namespaceOptions:NamespaceOption=1 selinuxOptions:SELinuxOption=2
  runAsUser:Int64Value=3 runAsGroup:Int64Value=8 readonlyRootfs:bool=4 supplementalGroups:int64[]=5
  supplementalGroupsPolicy:SupplementalGroupsPolicy=11 privileged:bool=6 seccomp:SecurityProfile=9
  apparmor:SecurityProfile=10 seccompProfilePath:string=7
SecurityProfile profileType:ProfileType=1 localhostRef:string=2
LinuxPodSandboxConfig cgroupParent:string=1 securityContext:LinuxSandboxSecurityContext=2 sysctls:map=3
  overhead:LinuxContainerResources=4 resources:LinuxContainerResources=5
PodSandboxMetadata name:string=1 uid:string=2 namespace:string=3 attempt:uint32=4
PodSandboxConfig metadata:PodSandboxMetadata=1 hostname:string=2 logDirectory:string=3 dnsConfig:DNSConfig=4
  portMappings:PortMapping[]=5 labels:map=6 annotations:map=7 linux:LinuxPodSandboxConfig=8
RunPodSandboxRequest config:PodSandboxConfig=1 runtimeHandler:string=2
RunPodSandboxResponse podSandboxId:string=1
StopPodSandboxRequest podSandboxId:string=1
StopPodSandboxResponse
RemovePodSandboxRequest podSandboxId:string=1
RemovePodSandboxResponse
PodSandboxStatusRequest podSandboxId:string=1 verbose:bool=2
PodIP ip:string=1
PodSandboxNetworkStatus ip:string=1 additionalIps:PodIP[]=2
Namespace options:NamespaceOption=2
LinuxPodSandboxStatus namespaces:Namespace=1
PodSandboxStatus id:string=1 metadata:PodSandboxMetadata=2 state:PodSandboxState=3 createdAt:int64=4
  network:PodSandboxNetworkStatus=5 linux:LinuxPodSandboxStatus=6 labels:map=7 annotations:map=8
  runtimeHandler:string=9
PodSandboxStatusResponse status:PodSandboxStatus=1 info:map=2 containersStatuses:ContainerStatus[]=3
  timestamp:int64=4
PodSandboxStateValue state:PodSandboxState=1
PodSandboxFilter id:string=1 state:PodSandboxStateValue=2 labelSelector:map=3
ListPodSandboxRequest filter:PodSandboxFilter=1
PodSandbox id:string=1 metadata:PodSandboxMetadata=2 state:PodSandboxState=3 createdAt:int64=4 labels:map=5
  annotations:map=6 runtimeHandler:string=7
ListPodSandboxResponse items:PodSandbox[]=1
StreamPodSandboxesRequest filter:PodSandboxFilter=1
StreamPodSandboxesResponse podSandboxes:PodSandbox[]=1
PodSandboxStatsRequest podSandboxId:string=1
PodSandboxStatsResponse stats:PodSandboxStats=1
PodSandboxStatsFilter id:string=1 labelSelector:map=2
ListPodSandboxStatsRequest filter:PodSandboxStatsFilter=1
ListPodSandboxStatsResponse stats:PodSandboxStats[]=1
StreamPodSandboxStatsRequest filter:PodSandboxStatsFilter=1
StreamPodSandboxStatsResponse podSandboxStats:PodSandboxStats[]=1
PodSandboxAttributes id:string=1 metadata:PodSandboxMetadata=2 labels:map=3 annotations:map=4
PodSandboxStats attributes:PodSandboxAttributes=1 linux:LinuxPodSandboxStats=2
LinuxPodSandboxStats cpu:CpuUsage=1 memory:MemoryUsage=2 network:NetworkUsage=3 process:ProcessUsage=4
  containers:ContainerStats[]=5 io:IoUsage=6
NetworkUsage timestamp:int64=1 defaultInterface:NetworkInterfaceUsage=2 interfaces:NetworkInterfaceUsage[]=3
NetworkInterfaceUsage name:string=1 rxBytes:UInt64Value=2 rxErrors:UInt64Value=3 txBytes:UInt64Value=4
  txErrors:UInt64Value=5
ProcessUsage timestamp:int64=1 processCount:UInt64Value=2
ImageSpec image:string=1 annotations:map=2 userSpecifiedImage:string=18 runtimeHandler:string=19
  imageRef:string=20
KeyValue key:string=1 value:string=2
LinuxContainerResources cpuPeriod:int64=1 cpuQuota:int64=2 cpuShares:int64=3 memoryLimitInBytes:int64=4
  oomScoreAdj:int64=5 cpusetCpus:string=6 cpusetMems:string=7 hugepageLimits:HugepageLimit[]=8 unified:map=9
  memorySwapLimitInBytes:int64=10
HugepageLimit pageSize:string=1 limit:uint64=2
SELinuxOption user:string=1 role:string=2 type:string=3 level:string=4
Capability addCapabilities:string[]=1 dropCapabilities:string[]=2 addAmbientCapabilities:string[]=3
LinuxContainerSecurityContext capabilities:Capability=1 privileged:bool=2 namespaceOptions:NamespaceOption=3
  selinuxOptions:SELinuxOption=4 runAsUser:Int64Value=5 runAsGroup:Int64Value=12 runAsUsername:string=6
  readonlyRootfs:bool=7 supplementalGroups:int64[]=8 supplementalGroupsPolicy:SupplementalGroupsPolicy=17
  noNewPrivs:bool=11 maskedPaths:string[]=13 readonlyPaths:string[]=14 seccomp:SecurityProfile=15
  apparmor:SecurityProfile=16 apparmorProfile:string=9 seccompProfilePath:string=10
LinuxContainerConfig resources:LinuxContainerResources=1 securityContext:LinuxContainerSecurityContext=2
LinuxContainerUser uid:int64=1 gid:int64=2 supplementalGroups:int64[]=3
ContainerMetadata name:string=1 attempt:uint32=2
Device containerPath:string=1 hostPath:string=2 permissions:string=3
CDIDevice name:string=1
ContainerConfig metadata:ContainerMetadata=1 image:ImageSpec=2 command:string[]=3 args:string[]=4
  workingDir:string=5 envs:KeyValue[]=6 mounts:Mount[]=7 devices:Device[]=8 labels:map=9 annotations:map=10
  logPath:string=11 stdin:bool=12 stdinOnce:bool=13 tty:bool=14 linux:LinuxContainerConfig=15
  CDIDevices:CDIDevice[]=17 stopSignal:Signal=18
CreateContainerRequest podSandboxId:string=1 config:ContainerConfig=2 sandboxConfig:PodSandboxConfig=3
CreateContainerResponse containerId:string=1
StartContainerRequest containerId:string=1
StartContainerResponse
StopContainerRequest containerId:string=1 timeout:int64=2
StopContainerResponse
RemoveContainerRequest containerId:string=1
RemoveContainerResponse
ContainerStateValue state:ContainerState=1
ContainerFilter id:string=1 state:ContainerStateValue=2 podSandboxId:string=3 labelSelector:map=4
ListContainersRequest filter:ContainerFilter=1
Container id:string=1 podSandboxId:string=2 metadata:ContainerMetadata=3 image:ImageSpec=4 imageRef:string=5
  state:ContainerState=6 createdAt:int64=7 labels:map=8 annotations:map=9 imageId:string=10
ListContainersResponse containers:Container[]=1
StreamContainersRequest filter:ContainerFilter=1
StreamContainersResponse containers:Container[]=1
ContainerStatusRequest containerId:string=1 verbose:bool=2
ContainerStatus id:string=1 metadata:ContainerMetadata=2 state:ContainerState=3 createdAt:int64=4
  startedAt:int64=5 finishedAt:int64=6 exitCode:int32=7 image:ImageSpec=8 imageRef:string=9 reason:string=10
  message:string=11 labels:map=12 annotations:map=13 mounts:Mount[]=14 logPath:string=15
  resources:ContainerResources=16 imageId:string=17 user:ContainerUser=18 stopSignal:Signal=19
ContainerStatusResponse status:ContainerStatus=1 info:map=2
ContainerResources linux:LinuxContainerResources=1
ContainerUser linux:LinuxContainerUser=1
UpdateContainerResourcesRequest containerId:string=1 linux:LinuxContainerResources=2 annotations:map=4
UpdateContainerResourcesResponse
ExecSyncRequest containerId:string=1 cmd:string[]=2 timeout:int64=3
ExecSyncResponse stdout:bytes=1 stderr:bytes=2 exitCode:int32=3
ExecRequest containerId:string=1 cmd:string[]=2 tty:bool=3 stdin:bool=4 stdout:bool=5 stderr:bool=6
ExecResponse url:string=1
AttachRequest containerId:string=1 stdin:bool=2 tty:bool=3 stdout:bool=4 stderr:bool=5
AttachResponse url:string=1
PortForwardRequest podSandboxId:string=1 port:int32[]=2
PortForwardResponse url:string=1
ImageFilter image:ImageSpec=1
ListImagesRequest filter:ImageFilter=1
Image id:string=1 repoTags:string[]=2 repoDigests:string[]=3 size:uint64=4 uid:Int64Value=5 username:string=6
  spec:ImageSpec=7 pinned:bool=8
ListImagesResponse images:Image[]=1
StreamImagesRequest filter:ImageFilter=1
StreamImagesResponse images:Image[]=1
ImageStatusRequest image:ImageSpec=1 verbose:bool=2
ImageStatusResponse image:Image=1 info:map=2
AuthConfig username:string=1 password:string=2 auth:string=3 serverAddress:string=4 identityToken:string=5
  registryToken:string=6
PullImageRequest image:ImageSpec=1 auth:AuthConfig=2 sandboxConfig:PodSandboxConfig=3
PullImageResponse imageRef:string=1
RemoveImageRequest image:ImageSpec=1
RemoveImageResponse
NetworkConfig podCidr:string=1
RuntimeConfig networkConfig:NetworkConfig=1
UpdateRuntimeConfigRequest runtimeConfig:RuntimeConfig=1
UpdateRuntimeConfigResponse
RuntimeCondition type:string=1 status:bool=2 reason:string=3 message:string=4
RuntimeStatus conditions:RuntimeCondition[]=1
StatusRequest verbose:bool=1
RuntimeHandlerFeatures recursiveReadOnlyMounts:bool=1 userNamespaces:bool=2
RuntimeHandler name:string=1 features:RuntimeHandlerFeatures=2
RuntimeFeatures supplementalGroupsPolicy:bool=1 userNamespacesHostNetwork:bool=2
StatusResponse status:RuntimeStatus=1 info:map=2 runtimeHandlers:RuntimeHandler[]=3 features:RuntimeFeatures=4
ImageFsInfoRequest
UInt64Value value:uint64=1
FilesystemIdentifier mountpoint:string=1
FilesystemUsage timestamp:int64=1 fsId:FilesystemIdentifier=2 usedBytes:UInt64Value=3 inodesUsed:UInt64Value=4
ImageFsInfoResponse imageFilesystems:FilesystemUsage[]=1 containerFilesystems:FilesystemUsage[]=2
ContainerStatsRequest containerId:string=1
ContainerStatsResponse stats:ContainerStats=1
ListContainerStatsRequest filter:ContainerStatsFilter=1
ContainerStatsFilter id:string=1 podSandboxId:string=2 labelSelector:map=3
ListContainerStatsResponse stats:ContainerStats[]=1
StreamContainerStatsRequest filter:ContainerStatsFilter=1
StreamContainerStatsResponse containerStats:ContainerStats[]=1
ContainerAttributes id:string=1 metadata:ContainerMetadata=2 labels:map=3 annotations:map=4
ContainerStats attributes:ContainerAttributes=1 cpu:CpuUsage=2 memory:MemoryUsage=3
  writableLayer:FilesystemUsage=4 swap:SwapUsage=5 io:IoUsage=6
PsiStats Full:PsiData=1 Some:PsiData=2
PsiData Total:uint64=1 Avg10:double=2 Avg60:double=3 Avg300:double=4
CpuUsage timestamp:int64=1 usageCoreNanoSeconds:UInt64Value=2 usageNanoCores:UInt64Value=3 psi:PsiStats=4
MemoryUsage timestamp:int64=1 workingSetBytes:UInt64Value=2 availableBytes:UInt64Value=3
  usageBytes:UInt64Value=4 rssBytes:UInt64Value=5 pageFaults:UInt64Value=6 majorPageFaults:UInt64Value=7
  psi:PsiStats=8
IoUsage timestamp:int64=1 psi:PsiStats=2
SwapUsage timestamp:int64=1 swapAvailableBytes:UInt64Value=2 swapUsageBytes:UInt64Value=3
ReopenContainerLogRequest containerId:string=1
ReopenContainerLogResponse
CheckpointContainerRequest containerId:string=1 location:string=2 timeout:int64=3
CheckpointContainerResponse
GetEventsRequest
ContainerEventResponse containerId:string=1 containerEventType:ContainerEventType=2 createdAt:int64=3
  podSandboxStatus:PodSandboxStatus=4 containersStatuses:ContainerStatus[]=5
ListMetricDescriptorsRequest
ListMetricDescriptorsResponse descriptors:MetricDescriptor[]=1
MetricDescriptor name:string=1 help:string=2 labelKeys:string[]=3
ListPodSandboxMetricsRequest
ListPodSandboxMetricsResponse podMetrics:PodSandboxMetrics[]=1
StreamPodSandboxMetricsRequest
StreamPodSandboxMetricsResponse podSandboxMetrics:PodSandboxMetrics[]=1
PodSandboxMetrics podSandboxId:string=1 metrics:Metric[]=2 containerMetrics:ContainerMetrics[]=3
ContainerMetrics containerId:string=1 metrics:Metric[]=2
Metric name:string=1 timestamp:int64=2 metricType:MetricType=3 labelValues:string[]=4 value:UInt64Value=5
RuntimeConfigRequest
RuntimeConfigResponse linux:LinuxRuntimeConfiguration=1
LinuxRuntimeConfiguration cgroupDriver:CgroupDriver=1
UpdatePodSandboxResourcesRequest podSandboxId:string=1 overhead:LinuxContainerResources=2
  resources:LinuxContainerResources=3
UpdatePodSandboxResourcesResponse
`;

/** One method per line: its name, its request, `stream` when it answers with a stream, its answer. */
export const services = {
  "runtime.v1.RuntimeService": `
Version VersionRequest VersionResponse
RunPodSandbox RunPodSandboxRequest RunPodSandboxResponse
StopPodSandbox StopPodSandboxRequest StopPodSandboxResponse
RemovePodSandbox RemovePodSandboxRequest RemovePodSandboxResponse
PodSandboxStatus PodSandboxStatusRequest PodSandboxStatusResponse
ListPodSandbox ListPodSandboxRequest ListPodSandboxResponse
StreamPodSandboxes StreamPodSandboxesRequest stream StreamPodSandboxesResponse
CreateContainer CreateContainerRequest CreateContainerResponse
StartContainer StartContainerRequest StartContainerResponse
StopContainer StopContainerRequest StopContainerResponse
RemoveContainer RemoveContainerRequest RemoveContainerResponse
ListContainers ListContainersRequest ListContainersResponse
StreamContainers StreamContainersRequest stream StreamContainersResponse
ContainerStatus ContainerStatusRequest ContainerStatusResponse
UpdateContainerResources UpdateContainerResourcesRequest UpdateContainerResourcesResponse
ReopenContainerLog ReopenContainerLogRequest ReopenContainerLogResponse
ExecSync ExecSyncRequest ExecSyncResponse
Exec ExecRequest ExecResponse
Attach AttachRequest AttachResponse
PortForward PortForwardRequest PortForwardResponse
ContainerStats ContainerStatsRequest ContainerStatsResponse
ListContainerStats ListContainerStatsRequest ListContainerStatsResponse
StreamContainerStats StreamContainerStatsRequest stream StreamContainerStatsResponse
PodSandboxStats PodSandboxStatsRequest PodSandboxStatsResponse
ListPodSandboxStats ListPodSandboxStatsRequest ListPodSandboxStatsResponse
StreamPodSandboxStats StreamPodSandboxStatsRequest stream StreamPodSandboxStatsResponse
UpdateRuntimeConfig UpdateRuntimeConfigRequest UpdateRuntimeConfigResponse
Status StatusRequest StatusResponse
CheckpointContainer CheckpointContainerRequest CheckpointContainerResponse
GetContainerEvents GetEventsRequest stream ContainerEventResponse
ListMetricDescriptors ListMetricDescriptorsRequest ListMetricDescriptorsResponse
ListPodSandboxMetrics ListPodSandboxMetricsRequest ListPodSandboxMetricsResponse
StreamPodSandboxMetrics StreamPodSandboxMetricsRequest stream StreamPodSandboxMetricsResponse
RuntimeConfig RuntimeConfigRequest RuntimeConfigResponse
UpdatePodSandboxResources UpdatePodSandboxResourcesRequest UpdatePodSandboxResourcesResponse
`,
  "runtime.v1.ImageService": `
ListImages ListImagesRequest ListImagesResponse
StreamImages StreamImagesRequest stream StreamImagesResponse
ImageStatus ImageStatusRequest ImageStatusResponse
PullImage PullImageRequest PullImageResponse
RemoveImage RemoveImageRequest RemoveImageResponse
ImageFsInfo ImageFsInfoRequest ImageFsInfoResponse
`,
};
