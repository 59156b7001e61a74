// What Kubernetes' own code says of objects: reads one JSON line each, `{"now": object}` or
// `{"old": object, "now": object}`, and answers a line with the defaulted object and the problems. The
// oracle of ../../src/api/kube/defaults and validation; see run.ts.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsrules "k8s.io/kubernetes/pkg/apis/apps/validation"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corerules "k8s.io/kubernetes/pkg/apis/core/validation"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkrules "k8s.io/kubernetes/pkg/apis/networking/validation"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	"k8s.io/kubernetes/pkg/apis/rbac"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	rbacrules "k8s.io/kubernetes/pkg/apis/rbac/validation"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
)

type problem struct {
	Reason  string `json:"reason"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

type answer struct {
	Error    string          `json:"error,omitempty"`
	Object   json.RawMessage `json:"object,omitempty"`
	Problems []problem       `json:"problems"`
	Judged   bool            `json:"judged"`
}

var options = corerules.PodValidationOptions{
	AllowRelaxedEnvironmentVariableValidation: true,
	PodLevelResourcesEnabled:                  true,
	AllowSidecarResizePolicy:                  true,
	AllowEnvFilesValidation:                   true,
}

func defaulted(text []byte) (runtime.Object, runtime.Object, error) {
	object, _, err := legacyscheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	legacyscheme.Scheme.Default(object)
	internal, err := legacyscheme.Scheme.ConvertToVersion(object, runtime.InternalGroupVersioner)
	return object, internal, err
}

func judgeCreate(object runtime.Object) (field.ErrorList, bool) {
	switch o := object.(type) {
	case *core.Pod:
		return corerules.ValidatePodCreate(o, options), true
	case *core.Service:
		return corerules.ValidateServiceCreate(o), true
	case *core.ConfigMap:
		return corerules.ValidateConfigMap(o), true
	case *core.Secret:
		return corerules.ValidateSecret(o), true
	case *core.Namespace:
		return corerules.ValidateNamespace(o), true
	case *apps.Deployment:
		return appsrules.ValidateDeployment(o, options), true
	case *apps.ReplicaSet:
		return appsrules.ValidateReplicaSet(o, options), true
	case *apps.DaemonSet:
		return appsrules.ValidateDaemonSet(o, options), true
	case *apps.StatefulSet:
		return appsrules.ValidateStatefulSet(o, options), true
	case *networking.Ingress:
		return networkrules.ValidateIngressCreate(o), true
	case *rbac.Role:
		return rbacrules.ValidateRole(o), true
	case *rbac.RoleBinding:
		return rbacrules.ValidateRoleBinding(o), true
	}
	return nil, false
}

func judgeUpdate(now, old runtime.Object) (field.ErrorList, bool) {
	switch o := now.(type) {
	case *core.Pod:
		return corerules.ValidatePodUpdate(o, old.(*core.Pod), options), true
	case *core.Service:
		return corerules.ValidateServiceUpdate(o, old.(*core.Service)), true
	case *core.Secret:
		return corerules.ValidateSecretUpdate(o, old.(*core.Secret)), true
	case *apps.Deployment:
		return appsrules.ValidateDeploymentUpdate(o, old.(*apps.Deployment), options), true
	case *apps.ReplicaSet:
		return appsrules.ValidateReplicaSetUpdate(o, old.(*apps.ReplicaSet), options), true
	case *apps.StatefulSet:
		return appsrules.ValidateStatefulSetUpdate(o, old.(*apps.StatefulSet), options), true
	case *rbac.RoleBinding:
		return rbacrules.ValidateRoleBindingUpdate(o, old.(*rbac.RoleBinding)), true
	}
	return nil, false
}

func judge(line []byte) answer {
	var given struct {
		Old json.RawMessage `json:"old"`
		Now json.RawMessage `json:"now"`
	}
	if err := json.Unmarshal(line, &given); err != nil {
		return answer{Error: err.Error()}
	}
	object, now, err := defaulted(given.Now)
	if err != nil {
		return answer{Error: err.Error()}
	}
	text, _ := json.Marshal(object)
	out := answer{Object: text}
	var errs field.ErrorList
	if given.Old == nil {
		errs, out.Judged = judgeCreate(now)
	} else if _, old, err := defaulted(given.Old); err != nil {
		return answer{Error: err.Error()}
	} else {
		errs, out.Judged = judgeUpdate(now, old)
	}
	for _, e := range errs {
		out.Problems = append(out.Problems, problem{string(e.Type), e.Field, e.ErrorBody()})
	}
	return out
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<26)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		if err := out.Encode(judge(in.Bytes())); err != nil {
			os.Exit(1)
		}
	}
}
