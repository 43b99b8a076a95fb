{{/* Everything that is wrong with the values, one line each: told at once, before anything is rendered. */}}
{{- define "fujie.problems" -}}
{{- $root := . -}}
{{- $values := .Values -}}
{{- if not (has $values.environment (list "production" "sandbox")) }}
environment must be production or sandbox
{{- end }}
{{- if not $values.issuer }}
issuer is missing: the OpenID provider's public address
{{- else if not (hasPrefix "https://" $values.issuer) }}
issuer must be https: tokens in clear text are refused
{{- end }}
{{- if and $values.jwksUrl (not (hasPrefix "https://" $values.jwksUrl)) }}
jwksUrl must be https
{{- end }}
{{- if not $values.keyBundle.secret }}
keyBundle.secret is missing
{{- end }}
{{- if eq $values.image.tag "latest" }}
image.tag must not be latest: name a release
{{- end }}
{{- if not (has $values.migrations.mode (list "job" "hook")) }}
migrations.mode must be job or hook
{{- end }}
{{- include "fujie.certificateProblems" $root }}
{{- include "fujie.networkProblems" $root }}
{{- include "fujie.settingProblems" (list "settings" $values.settings) }}
{{- range $name, $_ := include "fujie.calls" $root | fromYaml }}
{{- include "fujie.serviceProblems" (list $root (include "fujie.service" (list $root $name) | fromYaml)) }}
{{- end }}
{{- end -}}

{{- define "fujie.certificateProblems" -}}
{{- $certManager := .Values.certManager -}}
{{- if $certManager.enabled }}
{{- if not $certManager.issuerRef.name }}
certManager.issuerRef.name is missing
{{- end }}
{{- if eq .Values.migrations.mode "hook" }}
migrations.mode hook would wait for certificates that come after it: use job with certManager.enabled
{{- end }}
{{- if not (include "fujie.renders" (list . $certManager.render "cert-manager.io/v1/Certificate")) }}
certManager.enabled, but the cluster does not know cert-manager.io/v1: install it, or set certManager.render to always
{{- end }}
{{- end }}
{{- end -}}

{{- define "fujie.networkProblems" -}}
{{- $policy := .Values.networkPolicy -}}
{{- if $policy.enabled }}
{{- if not $policy.postgres.to }}
networkPolicy.postgres.to is empty: say where PostgreSQL is
{{- end }}
{{- if and .Values.redis.secret (not $policy.redis.to) }}
networkPolicy.redis.to is empty: say where Redis is
{{- end }}
{{- if and .Values.otlp.endpoint (not $policy.otlp.to) }}
networkPolicy.otlp.to is empty: say where the collector is
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes (list path settings). */}}
{{- define "fujie.settingProblems" -}}
{{- $path := index . 0 -}}
{{- range $variable, $_ := index . 1 }}
{{- if eq $variable "FUJIE_HTTP_TLS" }}
{{ $path }}.FUJIE_HTTP_TLS must not be set: nothing is served in clear text beyond loopback
{{- else if has $variable (list "FUJIE_DATABASE_URL" "FUJIE_MIGRATION_DATABASE_URL" "FUJIE_KEY_DATABASE_URL" "FUJIE_KEY_MIGRATION_DATABASE_URL" "FUJIE_REDIS_URL") }}
{{ $path }}.{{ $variable }} must not be set: a credential belongs in a Secret
{{- else if has $variable (include "fujie.ownedSettings" nil | fromYamlArray) }}
{{ $path }}.{{ $variable }} must not be set: the chart makes it from other values
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes (list path database). */}}
{{- define "fujie.databaseProblems" -}}
{{- $path := index . 0 -}}
{{- $database := index . 1 -}}
{{- if not $database.secret }}
{{ $path }}.secret is missing
{{- end }}
{{- if not $database.ownerSecret }}
{{ $path }}.ownerSecret is missing
{{- end }}
{{- if and $database.secret (eq $database.secret $database.ownerSecret) (eq $database.key $database.ownerKey) }}
{{ $path }} names the same Secret and key for the runtime role and the owner
{{- end }}
{{- end -}}

{{/* Takes (list root service). */}}
{{- define "fujie.serviceProblems" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $path := printf "services.%s" $service.name -}}
{{- $values := $service.values -}}
{{- include "fujie.databaseProblems" (list (printf "%s.database" $path) $values.database) }}
{{- with $values.keyDatabase }}
{{- if ne $service.name "audit" }}
{{ $path }}.keyDatabase is not for this service: audit keeps keys apart
{{- end }}
{{- include "fujie.databaseProblems" (list (printf "%s.keyDatabase" $path) .) }}
{{- if and .secret (eq .secret $values.database.secret) (eq .key $values.database.key) }}
{{ $path }}.keyDatabase is the service's own database: keys must not be in its backups
{{- end }}
{{- end }}
{{- if not $values.keysSecret }}
{{ $path }}.keysSecret is missing
{{- end }}
{{- if not $service.tlsSecret }}
{{ $path }}.tls.secret is missing: name a Secret or enable certManager
{{- end }}
{{- if eq $values.image.tag "latest" }}
{{ $path }}.image.tag must not be latest: name a release
{{- end }}
{{- if not (include "fujie.heapMiB" $values.resources.limits.memory) }}
{{ $path }}.resources.limits.memory must be in whole Mi or Gi: the heap is cut to it
{{- end }}
{{- range $name, $_ := $values.secretFiles }}
{{- if has $name (list "tls" "keys" "bundle" "tmp") }}
{{ $path }}.secretFiles.{{ $name }} is a name that the chart uses
{{- end }}
{{- end }}
{{- $many := or (gt (int $values.replicas) 1) $values.autoscaling.enabled }}
{{- if and $many (eq $root.Values.environment "sandbox") }}
{{ $path }}.replicas must be 1, without autoscaling, in the sandbox
{{- else if and $many (not $root.Values.redis.secret) }}
redis.secret is missing: {{ $service.name }} has more than one replica
{{- end }}
{{- include "fujie.settingProblems" (list (printf "%s.settings" $path) $values.settings) }}
{{- end -}}
