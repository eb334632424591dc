{{/* The name of everything that there is once per release. */}}
{{- define "quorate-operator.name" -}}
{{- if contains "quorate-operator" .Release.Name -}}
{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-quorate-operator" .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* The name of what has no namespace: two releases may share a name. */}}
{{- define "quorate-operator.clusterName" -}}
{{ printf "%s-%s" .Release.Namespace (include "quorate-operator.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "quorate-operator.selector" -}}
app.kubernetes.io/name: quorate-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "quorate-operator.labels" -}}
{{ include "quorate-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: quorate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "quorate-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "quorate-operator.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "quorate-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}
