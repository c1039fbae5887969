package io.qlora.cli;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * The little world that the demo's model knows: people, things, their colours and where they are. It tells stories, which
 * the base model is trained on from scratch, and asks questions about them, which the demo teaches. Everything is drawn
 * from a {@link Random} of a fixed seed, so the same world can be made again anywhere.
 */
final class DemoWorld {

    /** A question about a story, in the shape of an instruction data set. */
    record Question(String instruction, String input, String output) {}

    private static final List<String> PEOPLE = List.of(
            "Mia", "Tom", "Ben", "Lily", "Anna", "Sam", "Zoe", "Max", "Eva", "Leo", "Nina", "Paul", "Rosa", "Finn");
    private static final List<String> THINGS = List.of(
            "violin", "lamp", "chair", "book", "ball", "kite", "drum", "cup", "hat", "clock", "boat", "box", "ladder",
            "bell", "basket", "mirror");
    private static final List<String> COLOURS =
            List.of("red", "blue", "green", "yellow", "white", "black", "brown", "pink", "grey", "orange");
    private static final List<String> PLACES = List.of(
            "library",
            "kitchen",
            "garden",
            "attic",
            "park",
            "cellar",
            "hall",
            "school",
            "barn",
            "workshop",
            "shop",
            "tower");

    /** A thing with all that can be told of it. */
    private record Fact(String thing, String colour, String place, String person) {

        String told(Random random) {
            return switch (random.nextInt(4)) {
                case 0 -> "In the " + place + " stands a " + colour + " " + thing + " that belongs to " + person + ".";
                case 1 -> person + " keeps a " + colour + " " + thing + " in the " + place + ".";
                case 2 -> "There is a " + colour + " " + thing + " in the " + place + ". It belongs to " + person + ".";
                default -> person + " has a " + colour + " " + thing + ". It is in the " + place + ".";
            };
        }

        String colourOf() {
            return "The " + thing + " is " + colour + ".";
        }

        String placeOf() {
            return "The " + thing + " is in the " + place + ".";
        }

        String ownerOf() {
            return "The " + thing + " belongs to " + person + ".";
        }
    }

    private DemoWorld() {}

    /** One to three facts, and all that follows from them in any order: text of about 50 words. */
    static String story(Random random) {
        List<Fact> facts = facts(random, 1 + random.nextInt(3));
        List<String> sentences = new ArrayList<>();
        facts.forEach(fact -> sentences.add(fact.told(random)));
        List<String> recalled = new ArrayList<>();
        for (Fact fact : facts) {
            recalled.add(fact.colourOf());
            recalled.add(fact.placeOf());
            recalled.add(fact.ownerOf());
        }
        Collections.shuffle(recalled, random);
        sentences.addAll(recalled);
        return String.join(" ", sentences);
    }

    /** A question about a fact. */
    static Question question(Random random) {
        Fact fact = facts(random, 1).getFirst();
        String input = fact.told(random);
        return switch (random.nextInt(3)) {
            case 0 -> new Question("What colour is the " + fact.thing + "?", input, fact.colourOf());
            case 1 -> new Question("Where is the " + fact.thing + "?", input, fact.placeOf());
            default -> new Question("Who owns the " + fact.thing + "?", input, fact.ownerOf());
        };
    }

    private static List<Fact> facts(Random random, int count) {
        List<String> things = drawn(THINGS, count, random);
        List<String> colours = drawn(COLOURS, count, random);
        List<String> places = drawn(PLACES, count, random);
        List<String> people = drawn(PEOPLE, count, random);
        List<Fact> facts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            facts.add(new Fact(things.get(i), colours.get(i), places.get(i), people.get(i)));
        }
        return facts;
    }

    private static List<String> drawn(List<String> from, int count, Random random) {
        List<String> shuffled = new ArrayList<>(from);
        Collections.shuffle(shuffled, random);
        return shuffled.subList(0, count);
    }
}
