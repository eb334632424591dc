# shellcheck shell=bash
# Scenarios: which there are, and what became of them.
#
# A scenario is a file in scenarios/, a program that succeeds or fails. Its head says what it shows:
#   # shows: …        one line
#   # set: smoke      optional: also what CI runs
#   # seconds: 120    when it is given up
#   # needs: nodes    optional: nodes that can be lost, which --existing has not
# One that exits with 77 has been skipped, with its last line as the reason.

scenarios_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/scenarios

all_scenarios() {
    # In the order of their first lines: the ground before what stands on it.
    (cd "$scenarios_folder" && grep -H '^# order:' -- * | sort -t : -k 3 -n | cut -d : -f 1)
}

# `about NAME FIELD`
about() { sed -n "s/^# $2: *//p" "$scenarios_folder/$1" | head -n 1; }

scenarios_of_set() {
    local name
    for name in $(all_scenarios); do
        case " $(about "$name" set) " in *" $1 "*) echo "$name" ;; esac
    done
}

list_scenarios() {
    local name
    for name in $(all_scenarios); do
        printf '%-16s %-6s %s\n' "$name" "$(about "$name" set)" "$(about "$name" shows)"
    done
}

run_scenarios() {
    local name result seconds reason failed=0 log status before limit
    printf 'scenario\tresult\tseconds\tnote\n' >"$results/results.tsv"
    for name in "$@"; do
        printf '   %-16s … ' "$name" >&2
        log=$results/$name.log
        reason=
        before=$SECONDS
        limit=$(limit_of "$name")
        status=0
        run_scenario "$name" "$log" "$limit" || status=$?
        case $status in
            0)
                result=passed reason=$(sed -n 's/^NOTE: //p' "$log" | tail -n 1)
                ! grep -qa '^FAILED' "$log" || result=failed reason="it says so, and ends as if it had passed"
                ;;
            77) result=skipped reason=$(tail -n 1 "$log") ;;
            124 | 137) result=failed reason="not done in $limit s" ;;
            *) result=failed reason=$(grep -a '^FAILED' "$log" | tail -n 1) ;;
        esac
        seconds=$((SECONDS - before))
        printf '%s, %s s %s\n' "$result" "$seconds" "$reason" >&2
        printf '%s\t%s\t%s\t%s\n' "$name" "$result" "$seconds" "$reason" >>"$results/results.tsv"
        if [ $result = failed ]; then
            failed=$((failed + 1))
            keep_what_failed "$name"
            kubectl delete namespace "e2e-$name" --wait=false --ignore-not-found >/dev/null 2>&1
            [ -z "$show_log" ] || sed 's/^/      /' "$log" >&2
        fi
    done
    print_results
    [ "$failed" = 0 ]
}

# Seconds for a scenario: what it says, or what is left of `budget`, the seconds for all of them.
limit_of() {
    local own left
    own=$(about "$1" seconds)
    left=$((${budget:-86400} - SECONDS))
    echo $((left > own ? own : left > 1 ? left : 1))
}

# `run_scenario NAME LOG SECONDS`
run_scenario() {
    if [ "$(about "$1" needs)" = nodes ] && [ -n "$existing" ]; then
        echo "needs nodes that can be lost" >"$2"
        return 77
    fi
    scenario=$1 timeout --kill-after=5 "$3" "$scenarios_folder/$1" \
        >"$2" 2>&1 </dev/null
}

print_results() {
    local name result seconds reason
    printf '\n%-18s %-8s %8s\n' scenario result seconds
    tail -n +2 "$results/results.tsv" | while IFS=$'\t' read -r name result seconds reason; do
        printf '%-18s %-8s %8s  %s\n' "$name" "$result" "$seconds" "$reason"
    done
    awk -F '\t' 'NR > 1 { n[$2]++ }
        END { printf "\nscenarios: %d passed, %d failed, %d skipped\n", n["passed"], n["failed"], n["skipped"] }' \
        "$results/results.tsv"
}

# What a person asks for first.
keep_what_failed() {
    local folder=$results/$1
    mkdir -p "$folder"
    kubectl get events --all-namespaces --sort-by=.metadata.creationTimestamp >"$folder/events" 2>&1
    kubectl get all,pvc,pv,nodes --all-namespaces -o wide >"$folder/objects" 2>&1
    kubectl get quorateclusters,quoratebackups --all-namespaces -o yaml >"$folder/resources.yaml" 2>&1
    kubectl describe pods --all-namespaces >"$folder/pods" 2>&1
    local namespace pod
    kubectl get pods --all-namespaces --no-headers 2>/dev/null | while read -r namespace pod _; do
        timeout 10 kubectl logs --namespace "$namespace" "$pod" --all-containers --tail=2000 \
            >"$folder/$namespace.$pod.log" 2>&1
        timeout 10 kubectl logs --namespace "$namespace" "$pod" --all-containers --previous \
            --tail=500 >"$folder/$namespace.$pod.before.log" 2>/dev/null ||
            rm -f "$folder/$namespace.$pod.before.log"
    done
    [ -z "${ground:-}" ] || cp -r "$ground/logs" "$folder/ground"
    return 0
}
