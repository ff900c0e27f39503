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

run segue world --dataset demo/music --tracks 800 --playlists 2000 --listeners 300 --sessions 6000 \
    --audio --seed 1
run segue train audio-linear demo/music --bundle demo/heard --set wrmf.factors=32 --set wrmf.alpha=10 \
    --set wrmf.skip_confidence=200 --set wrmf.title_weight=1 --set wrmf.artist_weight=0.3

printf '\nReport with plots:   demo/report.html\nPlaylist to play:    demo/next.m3u8\n'
printf 'Dataset, bundles:    demo/world, demo/popularity, demo/title, demo/item-knn, demo/wrmf\n'
printf 'With sound:          demo/music, demo/heard\n'
printf 'Go on:               .venv/bin/segue --help\n'

show segue serve demo/heard --sounds demo/music --report demo/report.html
echo
# A terminal gets the page, until Ctrl-C; a script gets the command.
if [ "${DEMO_SERVE:-yes}" != no ] && [ -t 0 ]; then
    printf 'A page to try it, until Ctrl-C; begin with the title "night folk":\n'
    exec segue serve demo/heard --sounds demo/music --report demo/report.html
fi
printf 'serves a page at http://127.0.0.1:8000/\n'
