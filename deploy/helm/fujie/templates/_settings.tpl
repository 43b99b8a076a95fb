{{/* Settings that the chart makes from other values. */}}
{{- define "fujie.ownedSettings" -}}
- FUJIE_ENVIRONMENT
- FUJIE_GRPC_ADDRESS
- FUJIE_HTTP_ADDRESS
- FUJIE_ADMIN_ADDRESS
- FUJIE_TLS_CERT_FILE
- FUJIE_TLS_KEY_FILE
- FUJIE_TLS_CA_FILE
- FUJIE_HTTP_TLS
- FUJIE_DATABASE_URL
- FUJIE_MIGRATION_DATABASE_URL
- FUJIE_KEY_DATABASE_URL
- FUJIE_KEY_MIGRATION_DATABASE_URL
- FUJIE_REDIS_URL
- FUJIE_ISSUER
- FUJIE_JWKS_URL
- FUJIE_KEYS_DIR
- FUJIE_KEY_BUNDLE_FILE
- FUJIE_KEY_BUNDLE_ROOT_FILE
- FUJIE_PEER_AUTH
- FUJIE_PEER_REGISTRY
- FUJIE_PEER_TRUST_GATEWAY
- FUJIE_PEER_AUDIT
- FUJIE_OTLP_ENDPOINT
- FUJIE_TRACE_RATIO
- FUJIE_DRAIN_TIMEOUT_MS
{{- end -}}

{{/* The settings of a service that are no secret. Takes (list root service). */}}
{{- define "fujie.settings" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $values := $root.Values -}}
{{- $base := include "fujie.base" $root -}}
{{- $domain := printf "%s.svc.%s" $root.Release.Namespace $values.clusterDomain -}}
{{- $settings := dict
      "FUJIE_ENVIRONMENT" $values.environment
      "FUJIE_GRPC_ADDRESS" (printf "%s:%v" $values.listenHost $values.ports.grpc)
      "FUJIE_HTTP_ADDRESS" (printf "%s:%v" $values.listenHost $values.ports.http)
      "FUJIE_ADMIN_ADDRESS" (printf "%s:%v" $values.listenHost $values.ports.admin)
      "FUJIE_TLS_CERT_FILE" "/etc/fujie/tls/tls.crt"
      "FUJIE_TLS_KEY_FILE" "/etc/fujie/tls/tls.key"
      "FUJIE_TLS_CA_FILE" "/etc/fujie/tls/ca.crt"
      "FUJIE_ISSUER" $values.issuer
      "FUJIE_JWKS_URL" ($values.jwksUrl | default (printf "https://%s-auth.%s:%v/jwks" $base $domain $values.ports.http))
      "FUJIE_KEYS_DIR" "/etc/fujie/keys"
      "FUJIE_KEY_BUNDLE_FILE" "/etc/fujie/bundle/public-keys.json"
      "FUJIE_KEY_BUNDLE_ROOT_FILE" "/etc/fujie/bundle/bundle-root.pem"
      "FUJIE_TRACE_RATIO" $values.otlp.traceRatio
      "FUJIE_DRAIN_TIMEOUT_MS" ($service.values.drainTimeoutMs | int64 | toString)
-}}
{{- with $values.otlp.endpoint -}}
{{- $_ := set $settings "FUJIE_OTLP_ENDPOINT" . -}}
{{- end -}}
{{- range $service.calls -}}
{{- $variable := printf "FUJIE_PEER_%s" (. | upper | replace "-" "_") -}}
{{- $_ := set $settings $variable (printf "dns:///%s-%s-grpc.%s:%v" $base . $domain $values.ports.grpc) -}}
{{- end -}}
{{- range $variable, $value := mergeOverwrite (deepCopy $values.settings) $service.values.settings -}}
{{- $_ := set $settings $variable $value -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}
