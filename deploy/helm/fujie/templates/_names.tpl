{{/* Begin of all names: at most 30 characters, so that "<base>-trust-gateway-migrate-<hash>" stays within 63. */}}
{{- define "fujie.base" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name -}}
{{- if gt (len $name) 30 -}}
{{- printf "%s-%s" ($name | trunc 21 | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Whom each service calls or follows: to the right by call, to the left by feed (docs/design.md). */}}
{{- define "fujie.calls" -}}
auth: [auth, registry, audit]
registry: [auth, trust-gateway, audit]
trust-gateway: [auth, audit]
audit: [auth]
{{- end -}}

{{/*
What the templates of one service work with: a dict of the root, the service's name, its values over the defaults, and
the names of its objects. Takes (list root name); gives YAML without the root.
*/}}
{{- define "fujie.service" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := mergeOverwrite (deepCopy $root.Values.defaults) (deepCopy (index $root.Values.services $name | default dict)) -}}
{{- $base := printf "%s-%s" (include "fujie.base" $root) $name -}}
{{- $tls := $values.tls.secret -}}
{{- if and $root.Values.certManager.enabled (not $tls) -}}
{{- $tls = printf "%s-tls" $base -}}
{{- end -}}
{{- dict "name" $name "base" $base "grpcService" (printf "%s-grpc" $base) "tlsSecret" $tls "values" $values
      "calls" (index (include "fujie.calls" $root | fromYaml) $name) | toYaml -}}
{{- end -}}

{{/* Labels that pods are selected by. They never change. Takes (list root component). */}}
{{- define "fujie.selector" -}}
app.kubernetes.io/name: fujie
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. Takes (list root component); component "" for what belongs to no service. */}}
{{- define "fujie.labels" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
app.kubernetes.io/name: fujie
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with $component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/part-of: fujie
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The metadata of an object. Takes (dict "root" "name" "component" "annotations" "labels"); the last two may be absent.
*/}}
{{- define "fujie.metadata" -}}
{{- $annotations := mergeOverwrite (deepCopy .root.Values.commonAnnotations) (.annotations | default dict) -}}
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- mergeOverwrite (include "fujie.labels" (list .root .component) | fromYaml) (.labels | default dict) | toYaml | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Whether to render an object of a kind that not every cluster knows. Takes (list root mode apiVersion/Kind). */}}
{{- define "fujie.renders" -}}
{{- $mode := index . 1 -}}
{{- if or (eq $mode "always") (and (eq $mode "auto") ((index . 0).Capabilities.APIVersions.Has (index . 2))) -}}true{{- end -}}
{{- end -}}

{{/* The image of a service. Takes (list root service). */}}
{{- define "fujie.image" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $registry := $root.Values.image.registry | default $root.Values.global.imageRegistry -}}
{{- $path := compact (list $registry $root.Values.image.folder $service.name) | join "/" -}}
{{- $tag := $service.values.image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion -}}
{{- with $service.values.image.digest -}}
{{- printf "%s:%s@%s" $path $tag . -}}
{{- else -}}
{{- printf "%s:%s" $path $tag -}}
{{- end -}}
{{- end -}}
