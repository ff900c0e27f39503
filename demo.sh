#!/bin/sh
# What segue does, on a world that it makes up: make demo.
set -eu

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

mkdir -p demo
run segue world --dataset demo/world --tracks 5000 --playlists 6000 --sessions 5000 --seed 1

train() {
    recipe=$1
    shift
    run segue train "$recipe" demo/world --bundle "demo/$recipe" --holdout challenge "$@"
}
train popularity
train title
train item-knn
train wrmf --set factors=32 --set alpha=10 --set regularisation=0.01

run segue evaluate demo/popularity demo/title demo/item-knn demo/wrmf demo/world \
    --protocol challenge --report demo/report.html

run segue continue demo/title --title "Night Folk classics" -n 10
run segue continue demo/wrmf --track "Lijeri Lantern and Queen" --track "The Timopus The Snow" \
    --skipped "Kunepi Anchor Arrow" -n 10 --artist-spacing 2 --one-recording

list() {
    printf '\n$ segue %s > demo/next.m3u8\n' "$*"
    segue "$@" > demo/next.m3u8
}
list continue demo/wrmf --track "Lijeri Lantern and Queen" -n 20 --format m3u8

printf '\nReport with plots:   demo/report.html\nPlaylist to play:    demo/next.m3u8\n'
printf 'Dataset, bundles:    demo/world, demo/popularity, demo/title, demo/item-knn, demo/wrmf\n'
printf 'Go on:               .venv/bin/segue --help\n'
