{{/*
The pod of a service, serving or migrating. Takes (dict "root" "service" "migrate" "config" "serviceAccount"). A migration
reads the very same settings and files, so that what is wrong with them is told before anything has changed.
*/}}
{{- define "fujie.podSpec" -}}
{{- $root := .root -}}
{{- $service := .service -}}
{{- $values := $service.values -}}
{{- $ports := $root.Values.ports -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- if .migrate }}
restartPolicy: Never
{{- else }}
terminationGracePeriodSeconds: {{ include "fujie.gracePeriod" $values }}
topologySpreadConstraints:
  {{- include "fujie.spread" (list $root $service) | nindent 2 }}
{{- end }}
containers:
  - name: {{ .migrate | ternary "migrate" $service.name }}
    image: {{ include "fujie.image" (list $root $service) }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    {{- if .migrate }}
    args: [migrate]
    {{- else }}
    ports:
      - name: grpc
        containerPort: {{ $ports.grpc }}
      - name: http
        containerPort: {{ $ports.http }}
      - name: admin
        containerPort: {{ $ports.admin }}
    startupProbe:
      httpGet: { path: /startupz, port: admin }
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: 150
    livenessProbe:
      httpGet: { path: /livez, port: admin }
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 3
    readinessProbe:
      httpGet: { path: /readyz, port: admin }
      periodSeconds: 5
      timeoutSeconds: 2
      failureThreshold: 2
    lifecycle:
      preStop:
        exec:
          command: [node, --eval, "setTimeout(() => {}, {{ mul 1000 $values.preStopSeconds }})"]
    {{- end }}
    envFrom:
      - configMapRef:
          name: {{ .config }}
    env:
      - name: NODE_OPTIONS
        value: --max-old-space-size={{ include "fujie.heapMiB" $values.resources.limits.memory }}
      # The issuer's keys are read from auth, whose certificate is of the platform's own authority.
      - name: NODE_EXTRA_CA_CERTS
        value: /etc/fujie/tls/ca.crt
      {{- include "fujie.secretSetting" (list "FUJIE_DATABASE_URL" $values.database.secret $values.database.key) | nindent 6 }}
      {{- with $values.keyDatabase }}
      {{- include "fujie.secretSetting" (list "FUJIE_KEY_DATABASE_URL" .secret .key) | nindent 6 }}
      {{- if $.migrate }}
      {{- include "fujie.secretSetting" (list "FUJIE_KEY_MIGRATION_DATABASE_URL" .ownerSecret .ownerKey) | nindent 6 }}
      {{- end }}
      {{- end }}
      {{- if .migrate }}
      {{- include "fujie.secretSetting" (list "FUJIE_MIGRATION_DATABASE_URL" $values.database.ownerSecret $values.database.ownerKey) | nindent 6 }}
      {{- else if $root.Values.redis.secret }}
      {{- include "fujie.secretSetting" (list "FUJIE_REDIS_URL" $root.Values.redis.secret $root.Values.redis.key) | nindent 6 }}
      {{- end }}
    resources:
      {{- toYaml $values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      privileged: false
      readOnlyRootFilesystem: true
      runAsNonRoot: true
      capabilities:
        drop: [ALL]
      seccompProfile:
        type: RuntimeDefault
    volumeMounts:
      - { name: tls, mountPath: /etc/fujie/tls, readOnly: true }
      - { name: keys, mountPath: /etc/fujie/keys, readOnly: true }
      - { name: bundle, mountPath: /etc/fujie/bundle, readOnly: true }
      {{- range $name, $_ := $values.secretFiles }}
      - { name: {{ $name }}, mountPath: /etc/fujie/{{ $name }}, readOnly: true }
      {{- end }}
      - { name: tmp, mountPath: /tmp }
volumes:
  {{- include "fujie.secretVolume" (list "tls" $service.tlsSecret) | nindent 2 }}
  {{- include "fujie.secretVolume" (list "keys" $values.keysSecret) | nindent 2 }}
  {{- include "fujie.secretVolume" (list "bundle" $root.Values.keyBundle.secret) | nindent 2 }}
  {{- range $name, $secret := $values.secretFiles }}
  {{- include "fujie.secretVolume" (list $name $secret) | nindent 2 }}
  {{- end }}
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Above the sum of what stopping takes: looking away, draining, the last batch of telemetry, and some air. */}}
{{- define "fujie.gracePeriod" -}}
{{- add .preStopSeconds (div (add .drainTimeoutMs 999) 1000) 15 -}}
{{- end -}}

{{- define "fujie.spread" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- with $service.values.topologySpreadConstraints -}}
{{- toYaml . -}}
{{- else -}}
{{- range $index, $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- include "fujie.selector" (list $root $service.name) | nindent 6 }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "fujie.secretSetting" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end -}}

{{/* Mode 0440: the services refuse keys that everybody can read. Written in tens, which every YAML reads alike. */}}
{{- define "fujie.secretVolume" -}}
- name: {{ index . 0 }}
  secret:
    secretName: {{ index . 1 }}
    defaultMode: 288
{{- end -}}

{{/* Three quarters of a memory limit, in MiB; nothing when it is not in whole Mi or Gi. */}}
{{- define "fujie.heapMiB" -}}
{{- $limit := toString . -}}
{{- if regexMatch "^[1-9][0-9]*Mi$" $limit -}}
{{- div (mul 3 (trimSuffix "Mi" $limit | int64)) 4 -}}
{{- else if regexMatch "^[1-9][0-9]*Gi$" $limit -}}
{{- mul 768 (trimSuffix "Gi" $limit | int64) -}}
{{- end -}}
{{- end -}}
