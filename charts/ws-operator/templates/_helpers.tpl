{{- /*
A value that is null, or that `--reuse-values` does not know yet, is its default. Called first by every
template. files/values.yaml is values.yaml, which templates cannot read.
*/ -}}
{{- define "ws-operator.defaults" -}}
{{- include "ws-operator.fill" (list .Values (.Files.Get "files/values.yaml" | fromYaml)) -}}
{{- end -}}

{{- /* But for Kubernetes' own fields: who takes out `runAsUser` or a limit wants none. */ -}}
{{- define "ws-operator.fill" -}}
{{- $values := index . 0 -}}
{{- range $key, $default := index . 1 -}}
{{- $value := index $values $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $values $key $default -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $default) (not (has $key (list "resources" "podSecurityContext" "securityContext"))) -}}
{{- include "ws-operator.fill" (list $value $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ws-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ws-operator.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ws-operator.labels" -}}
{{ include "ws-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "ws-operator.serviceAccount" -}}
{{ default (include "ws-operator.fullname" .) .Values.serviceAccount.name }}
{{- end -}}

{{- /*
The same whatever the release is called: webhooks run in the order of their configurations' names,
and ours has to come after Olares' `sandbox-webhook`.
*/ -}}
{{- define "ws-operator.webhook" -}}
ws-operator
{{- end -}}

{{- define "ws-operator.caSecret" -}}
{{ include "ws-operator.fullname" . }}-ca
{{- end -}}

{{- /* The Secret with a certificate that others make; empty: the operator makes its own. */ -}}
{{- define "ws-operator.certificates" -}}
{{- with .Values.certificates -}}
{{- if and .existingSecret .certManager.enabled -}}
{{- fail "certificates.existingSecret and certificates.certManager.enabled exclude each other" -}}
{{- end -}}
{{- if .certManager.enabled -}}
{{- include "ws-operator.fullname" $ }}-tls
{{- else -}}
{{- .existingSecret -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The Certificates that cert-manager makes Secrets for, as <Certificate>=<Secret>,… */ -}}
{{- define "ws-operator.certManagerSecrets" -}}
{{- $name := include "ws-operator.fullname" . -}}
{{- with .Values.certificates.certManager -}}
{{- if .enabled -}}
{{- $name }}={{ include "ws-operator.certificates" $ }}
{{- if not .issuerRef -}}
,{{ $name }}-authority={{ $name }}-authority
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Sources that are told of apps in any namespace write AppManifests there. */ -}}
{{- define "ws-operator.writesEverywhere" -}}
{{- $sources := .Values.sources -}}
{{- if or $sources.podLabel.enabled (ne (toString $sources.applicationManager) "false") (and $sources.helm.enabled (not $sources.helm.namespaces)) -}}
true
{{- end -}}
{{- end -}}

{{- /* Of `helm test`, in this order; nothing of it stays. */ -}}
{{- define "ws-operator.test" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end -}}

{{- define "ws-operator.testPod" -}}
terminationGracePeriodSeconds: 1
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "ws-operator.testContainer" -}}
resources:
  requests:
    cpu: 10m
    memory: 16Mi
  limits:
    memory: 64Mi
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{- /* Whether the API server has, or is said to have, ValidatingAdmissionPolicies. */ -}}
{{- define "ws-operator.admissionPolicy" -}}
{{- $enabled := toString .Values.validatingAdmissionPolicy.enabled -}}
{{- $known := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") $known) -}}
true
{{- end -}}
{{- end -}}

{{- /*
An account of the operator's name that may patch workloads everywhere: of whatever namespace, as
kustomize's `namespace:` does not reach into expressions. Of the same name without that right, an
account is somebody else's.
*/ -}}
{{- define "ws-operator.policyOf" -}}
failurePolicy: Fail
matchConditions:
  - name: by-the-operator
    expression: >-
      request.userInfo.username.startsWith("system:serviceaccount:") &&
      request.userInfo.username.endsWith({{ include "ws-operator.serviceAccount" . | printf ":%s" | quote }}) &&
      authorizer.group("apps").resource("deployments").check("patch").allowed()
{{- end -}}

{{- /* CEL: the namespace of the account that asks. */ -}}
{{- define "ws-operator.home" -}}
request.userInfo.username.split(":")[2]
{{- end -}}

{{- /* CEL: that two maps are the same but for some keys. */ -}}
{{- define "ws-operator.sameBut" -}}
{{- $one := index . 0 -}}{{- $other := index . 1 -}}{{- $keys := index . 2 | toJson -}}
dyn({{ $one }}).all(key, key in {{ $keys }} || (key in dyn({{ $other }}) && dyn({{ $one }})[key] == dyn({{ $other }})[key])) && dyn({{ $other }}).all(key, key in {{ $keys }} || key in dyn({{ $one }}))
{{- end -}}

{{- /* CEL: that a Service stands beside an entrance by the operator's doing. */ -}}
{{- define "ws-operator.companion" -}}
has({{ . }}.metadata.labels) && "ws.olares.com/entrance" in {{ . }}.metadata.labels && has({{ . }}.metadata.ownerReferences) && {{ . }}.metadata.ownerReferences.exists(owner, owner.kind == "AppManifest" && owner.apiVersion.startsWith("ws.olares.com/"))
{{- end -}}
