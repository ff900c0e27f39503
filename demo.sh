#!/bin/sh
# What segue does, on a world that it makes up: make demo.
set -eu

show() {
    printf '\n$'
    for word in "$@"; do
        case $word in
            *' '*) printf ' "%s"' "$word" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
}

run() {
    show "$@"
    echo
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
run segue continue demo/wrmf --track "Lijeri Lantern and Queen" --track "Jetupi The Sign" \
    --skipped "DJ Fiyefa The Field" -n 10 --artist-spacing 2 --one-recording

show segue continue demo/wrmf --track "Lijeri Lantern and Queen" --format m3u8
echo ' > demo/next.m3u8'
segue continue demo/wrmf --track "Lijeri Lantern and Queen" --format m3u8 > demo/next.m3u8

printf '\nReport with plots:   demo/report.html\nPlaylist to play:    demo/next.m3u8\n'
printf 'Dataset, bundles:    demo/world, demo/popularity, demo/title, demo/item-knn, demo/wrmf\n'
printf 'Go on:               .venv/bin/segue --help\n'
