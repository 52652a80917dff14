"""Forced alignment of a clip with its words by a monophone GMM-HMM.

Three states a phone, left to right, each a mixture of diagonal Gaussians over `acoustics`; silence
may stand before, between and after words, and a word may have several pronunciations: the best path
decides. Graphs and the Viterbi search are Kaldi's (``kaldi-hmm-gmm``); the parameters
are plain arrays, trained by `aligner_training`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.shards import json_bytes, npz_bytes, read_npz, write_atomic
from dimitra.speech.acoustics import FEATURE_DIM, FRAME_S, SAMPLE_RATE_HZ, acoustic_features
from dimitra.speech.alignment import Alignment
from dimitra.speech.lexicon import Lexicon, Pronunciation
from dimitra.speech.phonemes import PHONES, SILENCE, Interval
from dimitra.speech.words import SpokenWord

STATES = 3
"""Emitting states of a phone, so a phone lasts at least 30 ms."""

PDFS = STATES * len(PHONES)

_FORMAT = 1
_STAY = 0.75
_SILENCE_COST = -math.log(0.5)
_SELF_LOOP_SCALE = 0.1
_BEAMS = (50.0, 200.0, 1e6)
"""Search beams, tried in turn: the first is enough for nearly every clip, the last is exact."""


@dataclass(frozen=True)
class Mixtures:
    """Gaussian mixtures of all states, concatenated state by state.

    Attributes:
        offsets: ``[PDFS + 1]`` where each state's components begin.
        weights: ``[G]``, summing to one within a state.
        means: ``[G, 39]``.
        variances: ``[G, 39]``.
    """

    offsets: NDArray[np.int32]
    weights: NDArray[np.float32]
    means: NDArray[np.float32]
    variances: NDArray[np.float32]

    @property
    def count(self) -> int:
        """Number of Gaussians over all states."""
        return len(self.weights)


@dataclass(frozen=True)
class Path10ms:
    """Best path through a clip's graph, one entry a 10 ms frame.

    Attributes:
        pdfs: ``[F]`` state distribution of each frame.
        transitions: ``[F]`` Kaldi transition ids.
        log_likelihood: of the whole path.
    """

    pdfs: NDArray[np.int32]
    transitions: NDArray[np.int32]
    log_likelihood: float


def _topology() -> str:
    states = "".join(
        f"<State> {state} <PdfClass> {state} <Transition> {state} {_STAY} "
        f"<Transition> {state + 1} {1 - _STAY} </State>\n"
        for state in range(STATES)
    )
    phones = " ".join(str(index + 1) for index in range(len(PHONES)))
    return (
        f"<Topology>\n<TopologyEntry>\n<ForPhones> {phones} </ForPhones>\n{states}"
        f"<State> {STATES} </State>\n</TopologyEntry>\n</Topology>\n"
    )


def _word_chain(pronunciations: Sequence[Sequence[Pronunciation]]) -> str:
    """Text FST from phones to word positions (1, 2, ...), with optional silence around every word.

    Phone labels are ids plus one, as 0 is epsilon. State 0 starts; before each word there is a hub.
    """
    arcs: list[str] = []
    silence = PHONES.index(SILENCE) + 1

    def arc(source: int, target: int, phone: int, word: int, cost: float = 0.0) -> None:
        arcs.append(f"{source} {target} {phone} {word} {cost:.6f}")

    hub, following = 1, 2
    arc(0, hub, 0, 0, _SILENCE_COST)
    arc(0, hub, silence, 0, _SILENCE_COST)
    for position, variants in enumerate(pronunciations, start=1):
        end, next_hub = following, following + 1
        following += 2
        for variant in variants:
            state = hub
            for index, phone in enumerate(variant):
                last = index == len(variant) - 1
                target = end if last else following
                following += 0 if last else 1
                arc(state, target, PHONES.index(phone) + 1, position if index == 0 else 0)
                state = target
        arc(end, next_hub, 0, 0, _SILENCE_COST)
        arc(end, next_hub, silence, 0, _SILENCE_COST)
        hub = next_hub
    return "\n".join([*arcs, str(hub)]) + "\n"


def _parse_words(
    labels: Sequence[str], pronunciations: Sequence[Sequence[Pronunciation]]
) -> list[tuple[int, int]]:
    """Phone ranges of the words in a decoded phone sequence: each word's first and past-last index.

    Silence stands between words only, so the sequence is one pronunciation a word with optional
    silences; where two readings fit, the one with the earlier pronunciations wins.
    """
    # Depth first over (word, position) with memory of dead ends: linear in practice.
    dead: set[tuple[int, int]] = set()
    stack: list[tuple[int, int, int]] = [(0, 0, 0)]
    while stack:
        word, start, variant = stack.pop()
        at = start
        while at < len(labels) and labels[at] == SILENCE:
            at += 1
        if word == len(pronunciations):
            if at == len(labels):
                return [_range(labels, s, pronunciations[w][v - 1]) for w, s, v in stack]
            continue
        variants = pronunciations[word]
        while variant < len(variants):
            phones = variants[variant]
            variant += 1
            end = at + len(phones)
            if tuple(labels[at:end]) == tuple(phones) and (word + 1, end) not in dead:
                stack += [(word, start, variant), (word + 1, end, 0)]
                break
        else:
            dead.add((word, start))
    raise AssertionError("the best path does not spell its own words")


def _range(labels: Sequence[str], start: int, phones: Pronunciation) -> tuple[int, int]:
    while labels[start] == SILENCE:
        start += 1
    return start, start + len(phones)


@dataclass(frozen=True)
class Aligner:
    """A trained model; aligns clips.

    Attributes:
        mixtures: state distributions.
        transition_counts: ``[transition ids + 1]`` how often each transition was taken in
            training; from them and the topology follow the transition probabilities.
    """

    mixtures: Mixtures
    transition_counts: NDArray[np.float64] = field(repr=False)

    @cached_property
    def _hmm(self) -> tuple[Any, Any, Any]:
        """(transition model, context dependency, acoustic model) of Kaldi."""
        import kaldi_hmm_gmm as khg

        topology = khg.HmmTopology()
        topology.read(_topology())
        tree = khg.monophone_context_dependency(
            topology.phones, topology.get_phone_to_num_pdf_classes()
        )
        transitions = khg.TransitionModel(tree, topology)
        transitions.mle_update(self.transition_counts, khg.MleTransitionUpdateConfig())
        acoustic = khg.AmDiagGmm()
        mixtures = self.mixtures
        for first, last in zip(mixtures.offsets[:-1], mixtures.offsets[1:], strict=True):
            gmm = khg.DiagGmm(int(last - first), FEATURE_DIM)
            gmm.set_weights(mixtures.weights[first:last])
            gmm.set_invvars_and_means(
                1.0 / mixtures.variances[first:last], mixtures.means[first:last]
            )
            gmm.compute_gconsts()
            acoustic.add_pdf(gmm)
        return transitions, tree, acoustic

    @cached_property
    def _transition_tables(self) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32]]:
        """Of each transition id: its pdf, whether it opens a phone, and the phone's id."""
        transitions, _, _ = self._hmm
        pdfs = np.array(transitions.transition_id_to_pdf_array(), dtype=np.int32)
        count = transitions.num_transition_ids + 1
        opens = np.zeros(count, dtype=np.bool_)
        phones = np.zeros(count, dtype=np.int32)
        for index in range(1, count):
            phones[index] = transitions.transition_id_to_phone(index) - 1
            # Kaldi's reordered graphs take a state's leaving transition first, its loops after.
            opens[index] = transitions.transition_ids_is_start_of_phone(
                index
            ) and not transitions.is_self_loop(index)
        return pdfs, opens, phones

    def graph(self, pronunciations: Sequence[Sequence[Pronunciation]]) -> Any:
        """The clip's search graph, without transition probabilities."""
        import kaldi_hmm_gmm as khg
        import kaldifst

        transitions, tree, _ = self._hmm
        chain = kaldifst.compile(_word_chain(pronunciations), acceptor=False)
        kaldifst.arcsort(chain, "olabel")
        compiler = khg.TrainingGraphCompiler(
            transitions, tree, chain, [], khg.TrainingGraphCompilerOptions(0.0, 0.0, True)
        )
        return compiler.compile_graph_from_text(list(range(1, len(pronunciations) + 1)))

    def best_path(self, features: NDArray[np.float32], graph: Any) -> Path10ms | None:
        """Viterbi path, or None where no path of the graph has as few frames as the clip."""
        import kaldi_hmm_gmm as khg

        transitions, _, acoustic = self._hmm
        weighted = graph.copy()
        khg.add_transition_probs(transitions, [], 1.0, _SELF_LOOP_SCALE, weighted)
        for beam in _BEAMS:
            decodable = khg.DecodableAmDiagGmmScaled(acoustic, transitions, features, 1.0)
            config = khg.AlignConfig(beam=beam, retry_beam=0.0, careful=False)
            done, _, _, likelihood, _, ids, _ = khg.align_utterance_wrapper(
                config, "clip", 1.0, weighted, decodable, 0, 0, 0, 0.0, 0
            )
            if done:
                taken = np.array(ids, dtype=np.int32)
                return Path10ms(self._transition_tables[0][taken], taken, float(likelihood))
        return None

    def align(
        self, samples: NDArray[np.float32], spoken: Sequence[SpokenWord], lexicon: Lexicon
    ) -> Alignment:
        """Align a clip with its words.

        Args:
            samples: ``[N]``, 16 kHz mono in -1..1.
            spoken: the words, in order.
            lexicon: pronounces them.

        Raises:
            ClipError: ``UNALIGNED`` where the words cannot fit into the sound.
        """
        pronunciations = [lexicon.pronunciations(word) for word in spoken]
        features = acoustic_features(samples)
        shortest = STATES * sum(min(map(len, variants)) for variants in pronunciations)
        if not spoken or len(features) < shortest:
            raise ClipError(
                Reason.UNALIGNED,
                f"{len(spoken)} words need at least {shortest * FRAME_S:.2f} s, the clip has "
                f"{len(samples) / SAMPLE_RATE_HZ:.2f} s: check its transcript",
            )
        path = self.best_path(features, self.graph(pronunciations))
        if path is None:
            raise ClipError(
                Reason.UNALIGNED,
                f"no path for {len(spoken)} words in {len(samples) / SAMPLE_RATE_HZ:.2f} s: "
                "check the transcript",
            )
        return self._intervals(path, spoken, pronunciations, len(samples) / SAMPLE_RATE_HZ)

    def _intervals(
        self,
        path: Path10ms,
        spoken: Sequence[SpokenWord],
        pronunciations: Sequence[Sequence[Pronunciation]],
        duration_s: float,
    ) -> Alignment:
        _, opens, phone_of = self._transition_tables
        starts = np.flatnonzero(opens[path.transitions])
        labels = [PHONES[phone_of[path.transitions[start]]] for start in starts]
        times = [round(float(start) * FRAME_S, 2) for start in starts] + [duration_s]
        phones = tuple(
            Interval(times[index], times[index + 1], label) for index, label in enumerate(labels)
        )
        words = tuple(
            Interval(phones[first].start_s, phones[past - 1].end_s, word.word)
            for word, (first, past) in zip(
                spoken, _parse_words(labels, pronunciations), strict=True
            )
        )
        likelihood = path.log_likelihood / len(path.pdfs)
        return Alignment(phones, words, tuple(spoken), likelihood)

    def save(self, folder: Path) -> None:
        """Write ``aligner.npz`` and ``aligner.json`` (format, phones, topology) into a folder."""
        mixtures = self.mixtures
        write_atomic(
            folder / "aligner.npz",
            npz_bytes(
                {
                    "offsets": mixtures.offsets,
                    "weights": mixtures.weights,
                    "means": mixtures.means,
                    "variances": mixtures.variances,
                    "transition_counts": self.transition_counts,
                }
            ),
        )
        write_atomic(
            folder / "aligner.json",
            json_bytes({"format": _FORMAT, "phones": list(PHONES), "states": STATES}),
        )

    @classmethod
    def load(cls, folder: Path) -> Aligner:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: the folder holds no aligner.
            ValueError: it was written for other phones or another format.
        """
        about = json.loads((folder / "aligner.json").read_text())
        if about != {"format": _FORMAT, "phones": list(PHONES), "states": STATES}:
            raise ValueError(
                f"{folder / 'aligner.json'} has format {about.get('format')!r} and other phones or "
                f"states than this version (format {_FORMAT}): run the stage align_train again"
            )
        arrays = read_npz((folder / "aligner.npz").read_bytes())
        counts = arrays.pop("transition_counts")
        return cls(Mixtures(**arrays), counts)
