package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

class LossChartTest {

    private static List<LossChart.Point> noisy(int count) {
        Random random = new Random(1);
        return IntStream.rangeClosed(1, count)
                .mapToObj(i -> new LossChart.Point(i, 1 + 4 * Math.exp(-4.0 * i / count) + 0.1 * random.nextGaussian()))
                .toList();
    }

    /** Parses a picture, and requires that all of it lies within. */
    private static Document draw(List<LossChart.Point> training, List<LossChart.Point> evaluation) throws Exception {
        String svg = LossChart.draw("Fine-tuning <a & b>", training, evaluation);
        assertFalse(svg.contains("NaN") || svg.contains("Infinity"), svg);
        Document picture = DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)));
        NodeList texts = picture.getElementsByTagName("text");
        for (int i = 0; i < texts.getLength(); i++) {
            Element text = (Element) texts.item(i);
            double x = Double.parseDouble(text.getAttribute("x"));
            double y = Double.parseDouble(text.getAttribute("y"));
            assertTrue(x >= 0 && x <= 800 && y >= 0 && y <= 450, text.getTextContent());
        }
        return picture;
    }

    private static int count(Document picture, String element) {
        return picture.getElementsByTagName(element).getLength();
    }

    private static List<double[]> coordinates(Document picture, int line) {
        Element element = (Element) picture.getElementsByTagName("polyline").item(line);
        return Arrays.stream(element.getAttribute("points").split(" "))
                .map(pair -> Arrays.stream(pair.split(","))
                        .mapToDouble(Double::parseDouble)
                        .toArray())
                .toList();
    }

    @Test
    void aRunOfOneStepWithoutEvaluationIsADot() throws Exception {
        Document picture = draw(List.of(new LossChart.Point(1, 2.345)), List.of());
        assertEquals(0, count(picture, "polyline"));
        assertEquals(1, count(picture, "circle"));
        assertTrue(picture.getDocumentElement().getTextContent().contains("training 2.345"));
    }

    @Test
    void aRunOfNoStepsIsAnEmptyFrame() throws Exception {
        Document picture = draw(List.of(), List.of());
        assertEquals(0, count(picture, "polyline") + count(picture, "circle"));
    }

    @Test
    void theTitleIsEscaped() throws Exception {
        Document picture = draw(List.of(), List.of());
        assertTrue(picture.getDocumentElement().getTextContent().contains("Fine-tuning <a & b>"));
    }

    @Test
    void lossesThatAreNotFiniteAreLeftOut() throws Exception {
        Document picture = draw(
                List.of(
                        new LossChart.Point(1, 2),
                        new LossChart.Point(2, Double.NaN),
                        new LossChart.Point(3, Double.POSITIVE_INFINITY),
                        new LossChart.Point(4, 1)),
                List.of(new LossChart.Point(0, Double.NaN)));
        assertEquals(2, count(picture, "circle"));
    }

    @Test
    void everyEvaluationHasADot() throws Exception {
        List<LossChart.Point> evaluation =
                List.of(new LossChart.Point(0, 5), new LossChart.Point(50, 2), new LossChart.Point(100, 1));
        Document picture = draw(noisy(100), evaluation);
        assertEquals(3, count(picture, "circle"));
        assertEquals(3, count(picture, "polyline")); // noise, trend, evaluation
    }

    @Test
    void aLongRunTakesNoMoreSpaceThanThePictureHasColumns() throws Exception {
        assertTrue(LossChart.draw("", noisy(100_000), List.of()).length() < 40_000);
        Document picture = draw(noisy(100_000), List.of());
        assertTrue(coordinates(picture, 1).size() <= 800);
    }

    @Test
    void theTrendLagsBehindNoSlope() {
        List<LossChart.Point> line = IntStream.range(0, 200)
                .mapToObj(i -> new LossChart.Point(i, 10 - 0.01 * i))
                .toList();
        double[] trend = LossCurve.of(line, 700).trend();
        for (int i = 0; i < 200; i++) {
            assertEquals(10 - 0.01 * i, trend[i], 1e-9);
        }
    }

    @Test
    void aSpikeBendsNeitherTheTrendNorTheScale() throws Exception {
        List<LossChart.Point> spiked = new ArrayList<>(noisy(300));
        spiked.set(150, new LossChart.Point(151, 500));
        LossCurve curve = LossCurve.of(spiked, 700);
        assertEquals(LossCurve.of(noisy(300), 700).trend()[150], curve.trend()[150], 0.05);
        assertTrue(curve.highest() < 6, "the scale goes to " + curve.highest());
        List<double[]> trend = coordinates(draw(spiked, List.of()), 1);
        assertTrue(trend.getFirst()[1] < 150, "the curve is pressed to the bottom");
    }

    /** As a straight line through a level beginning and the slope behind it would: the legend says where it begins. */
    @Test
    void theTrendBeginsNoHigherThanAnyLoss() {
        List<LossChart.Point> late = IntStream.rangeClosed(1, 200)
                .mapToObj(i -> new LossChart.Point(i, Math.clamp(7 - 0.4 * (i - 4), 0.03, 7)))
                .toList();
        double[] trend = LossCurve.of(late, 700).trend();
        assertEquals(7, trend[0]);
        assertTrue(Arrays.stream(trend).allMatch(loss -> loss >= 0.03 && loss <= 7));
    }

    /** A trend that took the steep part for outliers of the flat one once went to zero and back there. */
    @Test
    void aSteepBeginningBeforeALongFlatEndIsFollowed() {
        List<LossChart.Point> steep = IntStream.rangeClosed(1, 200)
                .mapToObj(i -> new LossChart.Point(i, 0.03 + 7.3 * Math.exp(-i / 8.0)))
                .toList();
        LossCurve curve = LossCurve.of(steep, 700);
        for (int i = 0; i < 200; i++) {
            assertEquals(steep.get(i).loss(), curve.trend()[i], 0.6, "step " + (i + 1));
        }
        assertTrue(curve.highest() >= steep.getFirst().loss(), "the scale goes to " + curve.highest());
    }

    @Test
    void aFlatCurveLooksFlat() throws Exception {
        List<LossChart.Point> flat = IntStream.range(0, 10)
                .mapToObj(i -> new LossChart.Point(i, 2 + 1e-4 * (i % 2)))
                .toList();
        List<double[]> line = coordinates(draw(flat, List.of()), 0);
        double low = line.stream().mapToDouble(p -> p[1]).min().orElseThrow();
        double high = line.stream().mapToDouble(p -> p[1]).max().orElseThrow();
        assertTrue(high - low < 2, "1e-4 nats are drawn as " + (high - low) + " pixels");
    }

    @Test
    void axesHaveRoundNumbers() throws Exception {
        String text = draw(noisy(20_000), List.of()).getDocumentElement().getTextContent();
        assertTrue(text.contains("5,000") && text.contains("20,000") && text.contains("optimizer step"), text);
    }
}
