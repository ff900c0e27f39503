#!/bin/sh
# Figures on real playlists: make results MPD=folder, zip or slices of the Million Playlist Dataset.
set -eu
if [ -z "${1:-}" ]; then
    echo "name the slices: make results MPD=path/to/mpd" >&2
    exit 2
fi

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

mkdir -p results
run segue ingest mpd "$1" --dataset results/mpd
for recipe in popularity title item-knn user-knn bpr wrmf playlist-cnn two-stage; do
    run segue train "$recipe" results/mpd --bundle "results/$recipe" --holdout challenge
done
run segue train two-stage results/mpd --bundle results/blend --holdout challenge \
    --set ranker.trees=0
run segue evaluate results/popularity results/title results/item-knn results/user-knn \
    results/bpr results/wrmf results/playlist-cnn results/blend results/two-stage results/mpd --protocol challenge --report results/report.html \
    --plot results/challenge.png
printf '\nReport with plots: results/report.html\nPlot: results/challenge.png\n'
