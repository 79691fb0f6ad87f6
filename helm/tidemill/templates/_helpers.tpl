{{/* The name of the chart in labels. */}}
{{- define "tidemill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What the names of all objects begin with; short enough for what is added. */}}
{{- define "tidemill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "tidemill.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tidemill.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidemill.selector" -}}
app.kubernetes.io/name: {{ include "tidemill.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tidemill.labels" -}}
{{ include "tidemill.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tidemill.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "tidemill.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "tidemill.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* The ports. */}}
{{- define "tidemill.rpcPort" -}}6123{{- end -}}
{{- define "tidemill.dataPort" -}}6122{{- end -}}

{{/* Where checkpoints and savepoints are. */}}
{{- define "tidemill.storageUrl" -}}
{{- .Values.storage.url | default "file:///var/lib/tidemill/storage" | trimSuffix "/" -}}
{{- end -}}

{{- define "tidemill.storageClaim" -}}
{{- .Values.storage.volume.existingClaim | default (printf "%s-storage" (include "tidemill.fullname" .)) -}}
{{- end -}}

{{/* Whether all pods must be on one node. */}}
{{- define "tidemill.oneNode" -}}
{{- if and (not .Values.storage.url) (eq .Values.storage.volume.accessMode "ReadWriteOnce") -}}true{{- end -}}
{{- end -}}

{{/* A value of the schema is right by itself; what does not fit together is refused here. */}}
{{- define "tidemill.check" -}}
{{- if not .Values.networkPolicy.enabled -}}
{{- fail "networkPolicy.enabled: neither TLS nor access tokens protect the ports yet. Without NetworkPolicies every pod of the cluster could run jobs; leave it true" -}}
{{- end -}}
{{- if and .Values.storage.url (not .Values.networkPolicy.egress) -}}
{{- fail (printf "networkPolicy.egress: the pods may not reach storage.url (%s); add an egress rule, for instance {to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 443}]}" .Values.storage.url) -}}
{{- end -}}
{{- if and (not (hasPrefix "s3://" .Values.storage.url)) (or .Values.storage.s3.endpoint .Values.storage.s3.region .Values.storage.s3.existingSecret .Values.storage.s3.pathStyleAccess) -}}
{{- fail "storage.s3: only used with a storage.url that begins with s3://" -}}
{{- end -}}
{{- if and .Values.storage.url .Values.storage.volume.existingClaim -}}
{{- fail "storage.volume.existingClaim: not used with storage.url; leave one of them out" -}}
{{- end -}}
{{- range $name, $job := .Values.jobs -}}
{{- if not (trim $job.sql) -}}
{{- fail (printf "jobs.%s.sql: the script is empty" $name) -}}
{{- end -}}
{{- if gt (len (printf "%s-job-%s" (include "tidemill.fullname" $) $name)) 63 -}}
{{- fail (printf "jobs.%s: this name is too long behind %s-job-; 63 letters are the most for both" $name (include "tidemill.fullname" $)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Of every pod. */}}
{{- define "tidemill.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Of every container. */}}
{{- define "tidemill.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Variables of every container: how processes find each other and the store. */}}
{{- define "tidemill.env" -}}
- name: TIDEMILL_CONFIG
  value: /etc/tidemill/tidemill.yaml
- name: TIDEMILL_JOBMANAGER_RPC_ADDRESS
  value: {{ include "tidemill.fullname" . }}-jobmanager
- name: TIDEMILL_JOBMANAGER_RPC_PORT
  value: {{ include "tidemill.rpcPort" . | quote }}
- name: TIDEMILL_STATE_CHECKPOINTS_DIR
  value: {{ include "tidemill.storageUrl" . }}/checkpoints
- name: TIDEMILL_STATE_SAVEPOINTS_DIR
  value: {{ include "tidemill.storageUrl" . }}/savepoints
{{- with .Values.storage.s3 }}
{{- if .endpoint }}
- name: TIDEMILL_S3_ENDPOINT
  value: {{ .endpoint | quote }}
{{- end }}
{{- if .region }}
- name: TIDEMILL_S3_REGION
  value: {{ .region | quote }}
{{- end }}
{{- if .pathStyleAccess }}
- name: TIDEMILL_S3_PATH_STYLE_ACCESS
  value: "true"
{{- end }}
{{- if .existingSecret }}
- name: TIDEMILL_S3_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .accessKeyKey }}
- name: TIDEMILL_S3_SECRET_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .secretKeyKey }}
{{- end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Mounts of every container, and the volumes behind them. */}}
{{- define "tidemill.mounts" -}}
- name: config
  mountPath: /etc/tidemill
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if not .Values.storage.url }}
- name: storage
  mountPath: /var/lib/tidemill/storage
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tidemill.volumes" -}}
- name: config
  configMap:
    name: {{ include "tidemill.fullname" . }}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- if not .Values.storage.url }}
- name: storage
  persistentVolumeClaim:
    claimName: {{ include "tidemill.storageClaim" . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Pods of one node, or those of a kind on different ones: (dict "root" $ "component" "taskmanager"). */}}
{{- define "tidemill.affinity" -}}
{{- $root := .root -}}
{{- if include "tidemill.oneNode" $root -}}
affinity:
  podAffinity:
    # The volume can be attached to one node.
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "tidemill.selector" $root | nindent 12 }}
{{- else if and (eq $root.Values.antiAffinity "required") (ne .component "job") -}}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "tidemill.selector" $root | nindent 12 }}
            app.kubernetes.io/component: {{ .component }}
{{- else if and (eq $root.Values.antiAffinity "preferred") (ne .component "job") -}}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "tidemill.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ .component }}
{{- end -}}
{{- end -}}

{{/* Where pods may run, by the values of their kind. */}}
{{- define "tidemill.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
